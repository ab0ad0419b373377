"""The dashboards for Grafana, as code.

board       what a dashboard is, and its JSON
queries     queries that most panels have
duplicates, pipeline, ledger, outbox
            one dashboard each
dashboards  their JSON, for Grafana to read; `python -m deploy.grafana` writes it anew
"""

from pathlib import Path

from deploy.grafana import duplicates, ledger, outbox, pipeline

BOARDS = (duplicates.BOARD, pipeline.BOARD, ledger.BOARD, outbox.BOARD)
FOLDER = Path(__file__).parent / "dashboards"
