"""The Python client of kerasd's HTTP interface. It needs httpx2 and nothing of the server.

with Client("http://127.0.0.1:8000") as client:
    job = client.submit({"dataset": "digits", "architecture": "lenet"})
    for event in client.events(job.id):
        print(event.kind, event.data)
    print(client.predict("lenet", Path("three.png").read_bytes()).predictions[0].label)
"""

from client.answers import (
    Epoch,
    Evaluation,
    EvaluationSummary,
    Event,
    Explanation,
    Job,
    JobWarning,
    ModelReference,
    ModelVersion,
    Prediction,
    Predictions,
    Progress,
    Score,
    Validation,
)
from client.client import DEFAULT_URL, Client
from client.comparisons import ComparedJob, Comparison, Downsampled
from client.dataset_answers import (
    ClassCounts,
    Dataset,
    DatasetWarning,
    FileFault,
    ImageCounts,
    ImageSizes,
    ImportProgress,
    ImportReport,
)
from client.errors import ApiError, ClientError, Fault, UnexpectedAnswer, Unreachable
from client.model_answers import Model, ModelSummary, VersionDetail
from client.study_answers import (
    Study,
    StudyObjective,
    StudyProgress,
    StudyRun,
    StudyValidation,
    StudyVariant,
    StudyWarning,
)
from client.study_findings import Effect, Mean, ResultRow, StudyEffects, StudyResults, Winner
from client.task_answers import BatchPrediction, TaskProgress

__all__ = [
    "DEFAULT_URL",
    "ApiError",
    "BatchPrediction",
    "ClassCounts",
    "Client",
    "ClientError",
    "ComparedJob",
    "Comparison",
    "Dataset",
    "DatasetWarning",
    "Downsampled",
    "Effect",
    "Epoch",
    "Evaluation",
    "EvaluationSummary",
    "Event",
    "Explanation",
    "Fault",
    "FileFault",
    "ImageCounts",
    "ImageSizes",
    "ImportProgress",
    "ImportReport",
    "Job",
    "JobWarning",
    "Mean",
    "Model",
    "ModelReference",
    "ModelSummary",
    "ModelVersion",
    "Prediction",
    "Predictions",
    "Progress",
    "ResultRow",
    "Score",
    "Study",
    "StudyEffects",
    "StudyObjective",
    "StudyProgress",
    "StudyResults",
    "StudyRun",
    "StudyValidation",
    "StudyVariant",
    "StudyWarning",
    "TaskProgress",
    "UnexpectedAnswer",
    "Unreachable",
    "Validation",
    "VersionDetail",
    "Winner",
]
