"""Adam with the papers' settings and learning-rate schedules."""

import optax


def make_schedule(learning_rate: float, total_steps: int, decay_steps: int = 0) -> optax.Schedule:
    """Constant, then falling linearly to zero over the last `decay_steps` steps.

    Args:
        learning_rate: of the constant part.
        total_steps: length of the run.
        decay_steps: 0 for a constant rate (the CycleGAN paper), half of the run for CycleGAN's
            own practice.
    """
    if decay_steps == 0:
        return optax.constant_schedule(learning_rate)
    fall = optax.linear_schedule(learning_rate, 0.0, decay_steps)
    return optax.join_schedules(
        [optax.constant_schedule(learning_rate), fall], [total_steps - decay_steps]
    )


def make_adam(schedule: optax.Schedule, beta1: float = 0.5) -> optax.GradientTransformation:
    """Adam with beta2 0.999 and epsilon 1e-8; both papers set beta1 to 0.5."""
    return optax.adam(schedule, b1=beta1, b2=0.999, eps=1e-8)
