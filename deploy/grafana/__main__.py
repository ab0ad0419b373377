"""Writes the dashboards: `python -m deploy.grafana`."""

from deploy.grafana import BOARDS, FOLDER

for board in BOARDS:
    (FOLDER / f"{board.name}.json").write_text(board.json())
