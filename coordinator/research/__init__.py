"""The researcher: plans that are tried here, asked of many hospitals, and figures that can be published."""
