"""Prompt injection and jailbreaks: rules and a linear model that say hit, clean, or that they could not judge."""

from __future__ import annotations

from trustplane.guard.text.injection.judging import SOURCES, InjectionJudge, Judgement, judge

__all__ = ["SOURCES", "InjectionJudge", "Judgement", "judge"]
