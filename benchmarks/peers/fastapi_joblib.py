"""The usual FastAPI service around a joblib file, as tutorials show it: a pydantic model and a plain function.

`python fastapi_joblib.py MODEL_FILE FOLDER PORT`
"""

from __future__ import annotations

import sys
from datetime import datetime

import joblib
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Record(BaseModel):
    """One reading of one vehicle."""

    vehicle_id: str
    timestamp: datetime
    feature_vector: list[float]


class Score(BaseModel):
    """What the forest says of it."""

    vehicle_id: str
    anomaly_score: float
    is_anomaly: bool


model_file, _folder, port = sys.argv[1:]
model = joblib.load(model_file)
app = FastAPI()


@app.post("/score")
def score(record: Record) -> Score:
    """Score one record."""
    decision = float(model.decision_function([record.feature_vector])[0])
    return Score(vehicle_id=record.vehicle_id, anomaly_score=decision, is_anomaly=decision < 0)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
