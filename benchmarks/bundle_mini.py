"""Put trained models into the package, and write their cards from what `facts.json` beside them says.

python benchmarks/bundle_mini.py NAME RUN    takes over the model that a run wrote
python benchmarks/bundle_mini.py             writes all cards anew
"""

import sys
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from perceivers.pretrained.folder import load_folder, save_folder
from perceivers.processing.files import write_whole
from perceivers.zoo import ZOO, Facts, Spec, bundled_folder, bundled_models, read_facts

MOST_BYTES = 8_000_000


def take(name: str, run: Path) -> None:
    """Copy config and weights of a run; what else a run writes is left behind."""
    model, task = load_folder(run)
    spec = ZOO[name]
    if model.config != spec.config:
        sys.exit(f"the model in {run} is another than the zoo's '{name}'")
    folder = bundled_folder(name)
    save_folder(model, folder, task)
    size = (folder / "model.safetensors").stat().st_size
    print(f"{folder}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        sys.exit(f"weights of {size:,} bytes are more than {MOST_BYTES:,}")


def score_table(spec: Spec, facts: Facts) -> str:
    """Return what the model and others score as a Markdown table."""
    names = list(facts.scores)
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for who, scores in {f"**{spec.name}**": facts.scores, **facts.baselines}.items():
        lines.append(f"| {who} | {' | '.join(f'{scores[name]:g}' if name in scores else '' for name in names)} |")
    return "\n".join(lines)


def card(spec: Spec, facts: Facts, labels: tuple[str, ...]) -> str:
    """Return the card of a model in the form of the Hub's."""
    identifier = (spec.licence or "").lower().replace(" ", "-")
    data = ModelCardData(
        library_name="perceivers",
        license=identifier,
        tags=["perceiver-io", str(spec.task)],
        model_name=spec.name,
        eval_results=[
            EvalResult(
                task_type=str(spec.task),
                dataset_type=facts.data.split(",")[0],
                dataset_name=facts.split,
                metric_type=metric,
                metric_value=value,
            )
            for metric, value in facts.scores.items()
        ],
    )
    limits = "\n".join(f"- {line}" for line in facts.limits)
    named = f"\nLabels: {', '.join(labels)}.\n" if labels else ""
    commands, scoring = "\n".join(facts.commands), "\n".join(facts.score_commands)
    return f"""---
{data.to_yaml().strip()}
---

# {spec.name}

{facts.about} It ships with perceivers and needs no network.
{named}
```python
import perceivers

answer = perceivers.pipeline("{spec.task}", "mini")
```

## Scores

On {facts.split}:

{score_table(spec, facts)}

```
{scoring}
```

## Training

| | |
|---|---|
| data | {facts.data} |
| licence of the data | {facts.data_licence} |
| licence of the weights | {spec.licence} |
| steps | {facts.steps:,} |
| seed | {facts.seed} |
| time | {facts.minutes:g} minutes |
| machine | {facts.machine} |

```
{commands}
```

## Limits

{limits}
"""


def write_cards() -> None:
    """Write the card of each model that ships with the package."""
    for spec in bundled_models():
        folder = bundled_folder(spec.name)
        _, task = load_folder(folder)
        labels = tuple((task or {}).get("labels") or ())
        write_whole(folder / "README.md", card(spec, read_facts(spec.name), labels))
        print(folder / "README.md")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        take(sys.argv[1], Path(sys.argv[2]))
    elif len(sys.argv) != 1:
        sys.exit(__doc__)
    else:
        write_cards()
