"use strict";
// The reading page: keys for every answer, drafts kept as they are written, the next study's films fetched ahead.
// Without this script the page is a form beside pictures, which is sent as any form.

const DRAFT_PAUSE = 400; // milliseconds after the last change
let films = [];
let timer = 0;
let ahead = null; // the page of the next study

function begin() {
  films = [...document.querySelectorAll(".film[data-values]")].map((section) => new Film(section));
  for (const film of films) film.ready.then(fetchAhead);
  const tools = document.querySelector(".viewers .tools");
  if (tools) {
    tools.hidden = !films.length;
    for (const button of tools.querySelectorAll("button")) button.addEventListener("click", () => use(button));
  }
  const form = document.querySelector("form.answers");
  if (!form) return;
  form.addEventListener("change", (event) => {
    settle(form, event.target);
    keep(form);
  });
  form.addEventListener("input", () => keep(form));
  form.addEventListener("submit", (event) => send(form, event));
  settle(form, null);
}

function use(button) {
  const focused = films.filter((film) => film.section === document.activeElement);
  for (const film of focused.length ? focused : films) film.tool(button.dataset.tool);
  if (button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", String(films.some((film) => film.moving)));
}

/** Let the grade follow from the zones, and have neither where the appearance has no grade. */
function settle(form, changed) {
  const appearance = form.querySelector("[data-ungraded]");
  if (!appearance) return;
  const chosen = form.querySelector("input[name=appearance]:checked");
  const isUngraded = Boolean(chosen) && appearance.dataset.ungraded.split(" ").includes(chosen.value);
  const zones = [...form.querySelectorAll("input[name=zones]")];
  const grades = [...form.querySelectorAll("input[name=grade]")];
  for (const input of [...zones, ...grades]) {
    input.disabled = isUngraded;
    if (isUngraded) input.checked = false;
  }
  const count = zones.filter((zone) => zone.checked).length;
  if (changed?.name === "zones") {
    for (const grade of grades) grade.checked = grade.dataset.zones.split(" ").includes(String(count));
  } else if (changed?.name === "grade" && !changed.dataset.zones.split(" ").includes(String(count))) {
    for (const zone of zones) zone.checked = false;
  }
}

/** Keep a draft a little after the last change. */
function keep(form) {
  if (!form.dataset.draft) return;
  clearTimeout(timer);
  timer = setTimeout(() => sendDraft(form), DRAFT_PAUSE);
}

async function sendDraft(form) {
  timer = 0;
  try {
    const answer = await fetch(form.dataset.draft, { method: "POST", body: new URLSearchParams(new FormData(form)), keepalive: true });
    say(answer.ok ? "Draft kept" : "The draft is not kept; reload the page");
  } catch {
    say("The draft is not kept: the curator's host does not answer");
  }
}

function say(text) {
  const said = document.querySelector(".said");
  if (said) said.textContent = text;
}

/** Send the answers, and show what comes: the next study, whose films are here already, or what is wrong. */
async function send(form, event) {
  event.preventDefault();
  clearTimeout(timer);
  const button = form.querySelector(".actions button");
  if (button.disabled) return;
  button.disabled = true;
  say("Recording…");
  let answer, shown;
  try {
    answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    shown = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!shown.querySelector("main")) throw new Error("no page");
  } catch {
    button.disabled = false;
    say("The curator's host does not answer. Try again: a read that is sent twice counts once.");
    return;
  }
  document.title = shown.title;
  document.querySelector("header").replaceWith(document.adoptNode(shown.querySelector("header") ?? document.createElement("header")));
  document.querySelector("main").replaceWith(document.adoptNode(shown.querySelector("main")));
  if (answer.redirected) history.pushState(null, "", answer.url);
  ahead = null;
  forget();
  begin();
  document.querySelector("main").focus();
}

/** Drop the values of films that are not shown. */
function forget() {
  const needed = new Set([...document.querySelectorAll("[data-values]")].map((section) => section.dataset.values));
  for (const address of stores.keys()) if (!needed.has(address)) stores.delete(address);
}

async function fetchAhead() {
  const name = document.querySelector(".reading")?.dataset.following;
  if (!name || ahead === name || films.some((film) => !film.values)) return;
  ahead = name;
  const answer = await fetch(`/studies/${name}`);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const section of page.querySelectorAll("[data-values]")) valuesOf(section.dataset.values).catch(() => stores.delete(section.dataset.values));
}

document.addEventListener("keydown", (event) => {
  const form = document.querySelector("form.answers");
  const isWriting = event.target.matches("textarea, input:not([type=radio], [type=checkbox])");
  if (!form || event.altKey || event.metaKey || (event.ctrlKey && event.key !== "Enter")) return;
  if (event.repeat && !"+-".includes(event.key)) { // a key that is held answers once, and not the next study
    if (event.key === "Enter" && !isWriting) event.preventDefault();
  } else if (event.key === "Escape" && isWriting) event.target.blur();
  else if (event.key === "Enter" && !event.target.matches("a, button, summary") && (!event.target.matches("textarea") || event.ctrlKey)) {
    event.preventDefault();
    form.requestSubmit();
  } else if (!isWriting && !event.ctrlKey) {
    const target = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!target || target.disabled) return;
    event.preventDefault();
    if (target.matches("textarea")) target.focus();
    else if (target.type === "radio" && target.checked) release(target);
    else target.click();
  }
});

/** The same key again takes an answer back. */
function release(radio) {
  radio.checked = false;
  radio.dispatchEvent(new Event("change", { bubbles: true }));
}

addEventListener("pagehide", () => {
  const form = document.querySelector("form.answers[data-draft]");
  if (timer && form) sendDraft(form);
});
addEventListener("popstate", () => location.reload());
begin();
