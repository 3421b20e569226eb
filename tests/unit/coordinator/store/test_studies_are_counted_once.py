"""A study counts once under its agreement, however many submissions it has."""

from coordinator.store.sql import SqlStore
from shared.ids import AgreementId
from tests.factories.rows import AGREEMENT, make_submission


class TestLaws:
    """What every store promises."""

    def test_studies_are_counted_by_agreement(self, store: SqlStore) -> None:
        """Those under another agreement do not count, and are not known."""
        rows = [make_submission(number) for number in range(1, 6)]
        rows[1] = rows[1].model_copy(update={"study": rows[0].study})
        rows[4] = rows[4].model_copy(update={"agreement": AgreementId("A-ffffffffffff")})
        with store.begin() as work:
            for row in rows:
                work.add_submission(row)
            assert work.study_count(AGREEMENT) == 3
            assert [work.has_study(AGREEMENT, row.study) for row in rows] == [True, True, True, True, False]
            assert work.study_count(AgreementId("A-000000000000")) == 0
