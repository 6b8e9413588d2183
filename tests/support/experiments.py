"""An experiment like those of the paper, small enough for a test."""

from __future__ import annotations

from corrtool.experiments import CorrespondenceCell, Experiment, FinetuningCell

CARTPOLE = Experiment(
    title="CartPole with its numbers in another order",
    source={"id": "CartPole-v1"},
    target={"id": "CartPole-v1", "views": ["permute:1,0,3,2"]},
    correspondence=(
        CorrespondenceCell(
            "gan",
            settings={
                "generator": "linear",
                "lambda_cyc": 0.0,
                "lambda_q": 0.0,
                "lambda_m": 0.0,
                "gradient_steps": 5,
            },
        ),
        CorrespondenceCell(
            "model",
            settings={
                "generator": "linear",
                "lambda_cyc": 0.0,
                "lambda_q": 0.0,
                "gradient_steps": 5,
            },
        ),
    ),
    finetune=(
        FinetuningCell("model", settings={"env_steps": 120}),
        FinetuningCell("scratch", settings={"env_steps": 120}, sizes={"tiny": {"n_step": 2}}),
        FinetuningCell("reuse", settings={"env_steps": 120}),
    ),
)
