"""What is special about the checks of exercise set 01: their oracles."""

import numpy as np

from bomrl_lite.course.checks.oracles import complex_step, policy_return, return_gradient
from bomrl_lite.course.checks.questions import random_worlds


def test_the_complex_step_is_exact_and_batched():
    world = random_worlds()[1]
    x = np.stack([world.logits, world.logits + 0.3])
    cubes = complex_step(lambda y: (y**3).sum((-2, -1)), x)
    np.testing.assert_allclose(cubes, 3 * x**2, rtol=1e-14)
    np.testing.assert_allclose(return_gradient(x, world)[0], return_gradient(x[0], world))
    assert policy_return(x, world).shape == (2,)
