"""How a run tells where it is: a bar on a terminal, a line now and then in a log file."""

import time
from io import TextIOBase
from types import TracebackType

LOG_EVERY = 30.0  # seconds between two lines where no terminal shows the bar


class TrainingProgress:
    """Shows step, loss (mean of the last 50) and steps per second, until `steps` or `minutes`."""

    def __init__(
        self, log: TextIOBase | None, first: int, steps: int | None, minutes: float | None
    ):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console = Console(file=log)  # type: ignore[arg-type]
        self.first, self.steps = first, steps
        self.started = self.logged = time.monotonic()
        self.recent: list[float] = []
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        total = minutes * 60 if steps is None and minutes is not None else steps
        done = 0 if steps is None else first
        self.task = self.bar.add_task("", total=total, completed=done, text="starting")

    def __enter__(self) -> "TrainingProgress":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def update(self, step: int, loss: float) -> None:
        """One more step is done."""
        self.recent = [*self.recent[-49:], loss]
        mean = sum(self.recent) / len(self.recent)
        rate = (step - self.first) / max(self.seconds, 1e-9)
        of = f"/{self.steps}" if self.steps is not None else ""
        text = f"step {step}{of}  loss {mean:.4f}  {rate:.2f} steps/s"
        self.bar.update(
            self.task, completed=step if self.steps is not None else self.seconds, text=text
        )
        if not self.console.is_terminal and (
            step == self.first + 1 or time.monotonic() - self.logged >= LOG_EVERY
        ):
            self.logged = time.monotonic()
            self.say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, highlight=False, soft_wrap=True)
