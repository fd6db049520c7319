"""The report of a study: a page that needs no network, or Markdown."""

from __future__ import annotations

from service.studies.report.rendering import html_report, markdown_report
from service.studies.report.subject import DataView, EnvironmentUse, JobRecord, ReportInput

__all__ = ["DataView", "EnvironmentUse", "JobRecord", "ReportInput", "html_report", "markdown_report"]
