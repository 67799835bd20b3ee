"""Import a ZIP file into Superset and load the data of all its charts; prints what was found as JSON.

Runs in an environment with Superset: `python superset_import.py ZIP PASSWORD`, with the configuration in
SUPERSET_CONFIG_PATH and a database that `superset db upgrade` and `superset init` have prepared.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

from superset.app import create_app

USER = {"username": "admin", "password": "admin", "provider": "db"}


def main(path: str, password: str) -> dict[str, Any]:
    app = create_app()
    with app.app_context():
        if not app.appbuilder.sm.find_user(USER["username"]):
            role = app.appbuilder.sm.find_role("Admin")
            app.appbuilder.sm.add_user(USER["username"], "A", "B", "a@example.com", role, USER["password"])
    client = app.test_client()
    token = client.post("/api/v1/security/login", json=USER).get_json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    def get(place: str) -> Any:
        return client.get(place, headers=headers).get_json()

    imported = client.post(
        "/api/v1/dashboard/import/",
        headers=headers,
        data={
            "formData": (io.BytesIO(Path(path).read_bytes()), "selligent.zip"),
            "passwords": json.dumps({"databases/selligent.yaml": password}),
            "overwrite": "true",
        },
    )
    charts = get("/api/v1/chart/?q=(page_size:1000)")["result"]
    dashboards = get("/api/v1/dashboard/")["result"]
    return {
        "import": [imported.status_code, imported.get_json()],
        "datasets": [one["table_name"] for one in get("/api/v1/dataset/?q=(page_size:1000)")["result"]],
        "charts": {chart["slice_name"]: load(get(f"/api/v1/chart/{chart['id']}/data/")) for chart in charts},
        "dashboards": {
            one["dashboard_title"]: [
                chart["slice_name"] for chart in get(f"/api/v1/dashboard/{one['id']}/charts")["result"]
            ]
            for one in dashboards
        },
        "positions": {
            one["dashboard_title"]: json.loads(get(f"/api/v1/dashboard/{one['id']}")["result"]["position_json"])
            for one in dashboards
        },
    }


def load(answer: Any) -> Any:
    """Return the rows of a chart, those of its last query, or the error."""
    return answer["result"][-1]["data"] if "result" in answer else answer


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), default=str))
