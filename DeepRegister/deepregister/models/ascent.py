"""Two ways up: many candidates together by steps of a set length, and one to the very top."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

Objective = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
ADAM_MEAN, ADAM_SQUARE = 0.8, 0.95
# What is left of the rate at the end.
LAST_RATE = 0.02
# A step that gains less than this share of what the slope promised was too long (Armijo 1966).
LEAST_SHARE = 1e-3
MOST_HALVINGS = 6


def climb(objective: Objective, parameters: torch.Tensor, iterations: int, rate: float, free: int) -> torch.Tensor:
    """Adam (Kingma and Ba, 2015) on all candidates at once; each keeps the best place it saw.

    Args:
        objective: (B,) values and (B, n) gradients of parameters (B, n).
        parameters: (B, n), where each begins.
        iterations: steps, whose length falls along a cosine.
        rate: length of the first steps in each parameter.
        free: how many of the parameters may change, from the first.
    """
    # By hand: importing torch.optim takes as long as half of the alignment.
    parameters = parameters.clone()
    mean, square = torch.zeros_like(parameters), torch.zeros_like(parameters)
    best, best_score = parameters.clone(), torch.full((len(parameters),), -torch.inf, dtype=parameters.dtype)
    for iteration in range(iterations):
        score, gradient = objective(parameters)
        better = score > best_score
        best[better], best_score[better] = parameters[better], score[better]
        gradient[:, free:] = 0
        mean.lerp_(gradient, 1 - ADAM_MEAN)
        square.lerp_(gradient**2, 1 - ADAM_SQUARE)
        length = rate * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * iteration / iterations)))
        unbiased = mean / (1 - ADAM_MEAN ** (iteration + 1))
        spread = (square / (1 - ADAM_SQUARE ** (iteration + 1))).sqrt()
        parameters += length * unbiased / (spread + 1e-12)
    return best


def polish(
    objective: Objective, parameters: torch.Tensor, iterations: int, first: float, tolerance: float, free: int
) -> torch.Tensor:
    """BFGS (Nocedal and Wright, Numerical Optimization, 2006, ch. 6) from one place, until a step is tiny.

    Args:
        objective: as for `climb`.
        parameters: (n,).
        iterations: at most so many steps.
        first: length of the first step, and the longest of any.
        tolerance: length of a step that is not worth another.
        free: how many of the parameters may change, from the first.
    """
    place = parameters.clone()

    def look(at: torch.Tensor) -> tuple[float, torch.Tensor]:
        score, gradient = objective(at[None])
        return float(score[0]), gradient[0, :free]

    score, gradient = look(place)
    inverse = None
    for _ in range(iterations):
        step = gradient * (first / gradient.norm().clamp(min=1e-12)) if inverse is None else inverse @ gradient
        step = step * min(1.0, first / max(float(step.norm()), 1e-12))
        promised = float(step @ gradient)
        for _ in range(MOST_HALVINGS):
            trial = place.clone()
            trial[:free] += step
            new_score, new_gradient = look(trial)
            if new_score >= score + LEAST_SHARE * promised:
                break
            step, promised = step / 2, promised / 2
        else:
            if inverse is None:
                break
            # What was learned of the curvature no longer holds: once more along the slope.
            inverse = None
            continue
        change = gradient - new_gradient
        along = float(step @ change)
        if along > 1e-12:
            if inverse is None:
                inverse = torch.eye(free, dtype=torch.float64) * along / float(change @ change)
            left = torch.eye(free, dtype=torch.float64) - torch.outer(step, change) / along
            inverse = left @ inverse @ left.T + torch.outer(step, step) / along
        place, score, gradient = trial, new_score, new_gradient
        if float(step.norm()) < tolerance:
            break
    return place
