"""The page behind a label: what somebody beside a leaking drum needs first."""
