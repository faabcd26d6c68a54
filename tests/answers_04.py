"""Answers to exercise set 04: the solutions of the source, and wrong ones made from them."""

from exercise_answers import Mutant, Solutions

from bomrl_lite.mdp import expected_return, occupancy, q_values

SOLUTIONS = Solutions(
    "04_implicit_differentiation",
    expected_return=expected_return,
    occupancy=occupancy,
    q_values=q_values,
)
solve = SOLUTIONS.solve

IFT, CG, VJP, W = "implicit_derivative", "conjugate_gradient", "implicit_vjp", "simplex_solve"
FULL, FROZEN, D1 = "hypergradient", "frozen_hypergradient", "hypergradient_d1"
UNROLLED = "unrolled_hypergradient"

ANSWER = "return -cross / bend"
SOLVE = "conjugate_gradient(lambda v: -pull_back(v)[0], cotangent, 1e-12)"
PULL = "torch.func.grad(lambda p: x @ slope(theta, p))(phi)"
ON_SIMPLEX = "raw - uniform * raw.sum(-1, keepdim=True) / uniform.sum(-1, keepdim=True)"
THETA = "theta = logits + q_values(logits.softmax(-1), task, gamma) / lam"
TILT = "q_values(logits.softmax(-1), task, gamma) / lam"
LAST = "return torch.func.grad(return_after)(phi)"
GRAD_J = "torch.func.grad(lambda t: expected_return(t.softmax(-1), task, gamma))(theta)"
STEP = "theta = theta + step_size * torch.func.grad(objective)(theta, p)"
VALUE = "return torch.func.grad(value)(phi)"

DENSE = "torch.linalg.pinv(torch.stack([matvec(e) for e in torch.eye(len(b)).to(b)])) @ b"
BOTH = "torch.func.grad(return_after)(phi)"
J_AT_PHI = "torch.func.grad(lambda x: expected_return(x.softmax(-1), task, gamma))(phi)"
PROMISE = """
        old = logits.softmax(-1)
        weights = occupancy(old, task, gamma)[:, None] / (1 - gamma)
        return (weights * theta.softmax(-1) * q_values(old, task, gamma)).sum()"""
D2_AGAIN = """
    def by_d2(x):
        theta = x + q_values(x.softmax(-1), task, gamma) / lam
        return expected_return(theta.softmax(-1), task, gamma)

    return torch.func.grad(by_d2)(phi)"""
OF_THE_ARGMAX = """
    theta = phi
    for _ in range(8):
        bend = torch.func.hessian(objective)(theta, phi)
        theta = theta - torch.linalg.solve(bend, torch.func.grad(objective)(theta, phi))
    return implicit_vjp(objective, theta, phi, torch.func.grad(outer)(theta))"""

HALVES = """
    def by_halves(x):
        probs = x.softmax(-1)
        q = q_values(probs, task, gamma)
        low, high = (q + lam * probs).amax(-1, keepdim=True), q.amax(-1, keepdim=True) + lam
        for _ in range(60):
            mu = (low + high) / 2
            more = (lam * probs / (mu - q)).sum(-1, keepdim=True) > 1
            low, high = torch.where(more, mu, low), torch.where(more, high, mu)
        return expected_return(lam * probs / (mu - q), task, gamma)

    return torch.func.grad(by_halves)(phi)"""
THE_CLIMB = """
    theta = phi
    for _ in range({}):
        theta = theta + step_size * torch.func.grad(objective)(theta, phi)
"""
AT_THE_END = (
    THE_CLIMB.format("num_steps")
    + """
    bend = -torch.func.hessian(objective)(theta, phi)
    cross = torch.func.jacrev(torch.func.grad(objective), argnums=1)(theta, phi)
    return cross.T @ torch.linalg.solve(bend, torch.func.grad(outer)(theta))"""
)
LAST_ALONE = (
    THE_CLIMB.format("num_steps - 1")
    + """
    return torch.func.grad(
        lambda p: outer(theta + step_size * torch.func.grad(objective)(theta, p))
    )(phi)"""
)

MUTANTS = (
    Mutant(IFT, ANSWER, "return cross / bend", "by hand", "minus sign"),
    Mutant(IFT, ANSWER, "return -bend / cross", "by hand", "upside down"),
    Mutant(IFT, ANSWER, "return -cross", "by hand", "division by F_theta_theta"),
    Mutant(IFT, ANSWER, "return bend", "by hand", "F_theta_theta alone"),
    Mutant(IFT, ANSWER, "return cross", "by hand", "F_theta_phi alone"),
    Mutant(
        IFT,
        "cross = torch.func.grad(slope, argnums=1)",
        "cross = torch.func.grad(torch.func.grad(objective, argnums=1), argnums=1)",
        "by hand",
        "F_phi_phi stands where F_theta_phi",
    ),
    Mutant(
        IFT,
        ANSWER,
        "return torch.func.grad(objective, argnums=1)(theta, phi)",
        "by hand",
        "the derivative of F in phi",
    ),
    Mutant(IFT, ANSWER, "return torch.ones_like(phi)", "by hand", "exactly as phi"),
    Mutant(IFT, ANSWER, "return torch.zeros_like(phi)", "by hand", "not to depend on phi"),
    Mutant(IFT, ANSWER, "return (-cross / bend).item()", "type", "stay in torch"),
    Mutant(
        IFT,
        ANSWER,
        "return (-cross / bend).reshape(1)",
        "shape",
        "a dimension of size 1 is there or missing:",
    ),
    Mutant(IFT, "(theta, phi)\n    return", "(phi, theta)\n    return", "by hand"),
    Mutant(CG, "return x", "return -x", "by hand", "sign"),
    Mutant(
        CG, "return x", "return residual", "by hand", "that is 0: x never moves from its start, or"
    ),
    Mutant(CG, "return x", "return matvec(b)", "by hand", "A b"),
    Mutant(CG, "return x", "return b / 2", "by hand"),
    Mutant(CG, "while squared > goal:", "for _ in range(1):", "by hand", "one step"),
    Mutant(CG, "while squared > goal:", "for _ in range(0):", "by hand", "x never moves"),
    Mutant(
        CG,
        "while squared > goal:",
        "for _ in range(5):",
        "runs",
        "A is positive definite here: the iterations",
    ),
    Mutant(
        CG,
        "while squared > goal:",
        "for _ in range(len(b)):",
        "stops in time",
        "the iterations go on",
    ),
    Mutant(
        CG,
        "goal = tolerance**2 * (b @ b)",
        "goal = tolerance**2",
        "stops in time",
        "the tolerance is taken as it is: it is",
    ),
    Mutant(CG, "goal = tolerance**2", "goal = tolerance", "stops in time", "tolerance"),
    Mutant(
        CG,
        "direction = residual + squared / previous * direction",
        "direction = residual",
        "stops in time",
        "beta is 0: that is steepest descent",
    ),
    Mutant(CG, "residual - step * image", "residual + step * image", "runs", "residual grows"),
    Mutant(CG, "squared / bend", "squared", "by hand", "diverges"),
    Mutant(
        CG,
        "x, residual, direction = torch.zeros_like(b), b, b",
        f"return {DENSE}",
        "stops in time",
        "written out",
    ),
    Mutant(CG, "residual = residual - step", "residual -= step", "inputs untouched", "in place"),
    Mutant(CG, "return x", "return x.float()", "dtype", "float32"),
    Mutant(
        CG,
        'raise ValueError(f"A is not positive definite: <p, A p> = {bend}")',
        "pass",
        "indefinite matrix",
        "is not tested",
    ),
    Mutant(
        CG,
        "if bend <= 0:",
        "if bend < 0:",
        "indefinite matrix",
        "<p, A p> is not tested: where it is not",
    ),
    Mutant(CG, "raise ValueError", "raise RuntimeError", "indefinite matrix", "ValueError"),
    Mutant(
        CG,
        "if bend <= 0:",
        "if bend <= 0 and squared < goal:",
        "indefinite matrix",
        "<p, A p> is not tested: where it is not",
    ),
    Mutant(VJP, f"x = {SOLVE}", "x = cotangent", "by hand", "not solved"),
    Mutant(
        VJP,
        "lambda v: -pull_back",
        "lambda v: pull_back",
        "runs",
        "theta is the argmax here, and MINUS the",
    ),
    Mutant(
        VJP,
        f"x = {SOLVE}",
        "x = torch.linalg.solve(torch.func.hessian(objective)(theta, phi), cotangent)",
        "by hand",
        "MINUS the Hessian",
    ),
    Mutant(VJP, f"x = {SOLVE}", "x = -pull_back(cotangent)[0]", "by hand", "multiplied by"),
    Mutant(VJP, PULL, "x", "shape", "that is x"),
    Mutant(VJP, PULL, "cotangent", "shape", "the identity"),
    Mutant(VJP, "slope(theta, p))(phi)", "slope(theta, phi))(phi)", "by hand", "another phi"),
    Mutant(
        VJP,
        f"x = {SOLVE}",
        "x = -cotangent / torch.func.hessian(objective)(theta, phi).diagonal()",
        "by hand",
        "only the diagonal",
    ),
    Mutant(VJP, "> 1e-6", "> 1e6", "unsolved inner problem", "norm of the gradient"),
    Mutant(VJP, "> 1e-6", "> 1e-1", "unsolved inner problem", "norm of the gradient"),
    Mutant(
        VJP,
        "raise ValueError",
        "print",
        "unsolved inner problem",
        "the norm of the gradient of F in theta is",
    ),
    Mutant(VJP, ", 1e-12)", ", 1e-1)", "random values"),
    Mutant(W, ON_SIMPLEX, "raw", "sums to 0", "simplex is left out"),
    Mutant(W, ON_SIMPLEX, "raw - raw.mean(-1, keepdim=True)", "by hand", "Euclidean"),
    Mutant(W, ON_SIMPLEX, f"-({ON_SIMPLEX})", "by hand", "sign"),
    Mutant(W, " / uniform.sum(-1, keepdim=True)", "", "sums to 0", "division by 1^T"),
    Mutant(W, "/ uniform.sum(-1, keepdim=True)", "/ c.shape[-1]", "sums to 0", "number of actions"),
    Mutant(W, "raw - uniform", "raw + uniform", "sums to 0", "added"),
    Mutant(W, "raw - uniform", "-uniform", "sums to 0", "only the correction"),
    Mutant(W, "raw.sum(-1, keepdim=True)", "c.sum(-1, keepdim=True)", "sums to 0", "sum of c"),
    Mutant(
        W,
        "raw.sum(-1, keepdim=True)",
        "raw.sum()",
        "sums to 0",
        "the first sum runs over all states: every",
    ),
    Mutant(W, ON_SIMPLEX, "(m @ c.unsqueeze(-1)).squeeze(-1)", "sums to 0", "its inverse"),
    Mutant(W, "ones_like(c).unsqueeze(-1)", "ones(c.shape[-1], 1)", "runs", "float32"),
    Mutant(FULL, THETA, THETA.replace(TILT, f"({TILT}).detach()"), "gradient of Q", "Q is held"),
    Mutant(FULL, "= logits + q", "= logits.detach() + q", "by hand", "only the way through Q"),
    Mutant(FULL, THETA, "theta = logits", "by hand", "without any adaptation"),
    Mutant(FULL, " / lam", "", "by hand", "lam is missing"),
    Mutant(FULL, " / lam", " * lam", "by hand", "multiplied by lam"),
    Mutant(FULL, "logits + q_values", "logits - q_values", "by hand", "wrong sign"),
    Mutant(FULL, " / lam", " * (1 - gamma) / lam", "by hand", "multiplied by 1 - gamma"),
    Mutant(FULL, LAST, f"return (1 - gamma) * {BOTH}", "by hand", "1 - gamma times"),
    Mutant(FULL, LAST, f"return {BOTH} / (1 - gamma)", "by hand", "1 / (1 - gamma) times"),
    Mutant(FULL, LAST, f"return -{BOTH}", "by hand", "sign is reversed"),
    Mutant(FULL, THETA, f"{THETA}\n        theta = theta.detach()", "by hand", "held constant"),
    Mutant(
        FULL,
        "\n        return expected_return(theta.softmax(-1), task, gamma)",
        PROMISE,
        "by hand",
        "what the old data promise",
    ),
    Mutant(
        FULL,
        "return expected_return(theta.softmax(-1), task, gamma)",
        "after = theta.softmax(-1)\n"
        "        later = q_values(after, task, gamma).detach()\n"
        "        return task.start @ (after * later).sum(-1)",
        "by hand",
        "later steps",
    ),
    Mutant(
        FULL,
        "theta.softmax(-1)",
        "theta.softmax(0)",
        "runs",
        "what is handed on as a policy is none: a",
    ),
    Mutant(FROZEN, f"return {GRAD_J}", D2_AGAIN.strip(), "no gradient of Q", "flows through Q"),
    Mutant(FROZEN, "(theta)", "(phi)", "by hand", "without any adaptation"),
    Mutant(FROZEN, GRAD_J, f"-{GRAD_J}", "by hand", "sign is reversed"),
    Mutant(FROZEN, GRAD_J, f"{GRAD_J} / lam", "by hand", "divided by lam"),
    Mutant(FROZEN, GRAD_J, f"(1 - gamma) * {GRAD_J}", "by hand", "1 - gamma times"),
    Mutant(FROZEN, GRAD_J, "torch.zeros_like(phi)", "by hand", "everything is held"),
    Mutant(D1, "q_values(probs, task, gamma) +", "", "gradient of Q", "Q is held"),
    Mutant(D1, " + lam * probs / adapted_probs", "", "by hand", "D1 depends on phi itself"),
    Mutant(D1, "/ adapted_probs**2", "/ phi.softmax(-1) / adapted_probs", "by hand", "that of D2"),
    Mutant(
        D1,
        "x = simplex_solve(m, cotangent)",
        "x = torch.linalg.solve(m, cotangent.unsqueeze(-1)).squeeze(-1)",
        "by hand",
        "simplex is left out",
    ),
    Mutant(D1, "diag_embed(lam * ", "diag_embed(", "random values", "lam is missing in M"),
    Mutant(D1, "+ lam * probs", "+ probs", "random values", "mixed derivative lam / pi'"),
    Mutant(D1, "+ lam * probs", "- lam * probs", "by hand", "mixed derivative has the wrong sign"),
    Mutant(D1, "slope = q_values", "slope = -q_values", "random values", "Q has the wrong sign"),
    Mutant(D1, "return torch.func.grad(slopes)(phi)", D2_AGAIN.strip(), "by hand", "of D2"),
    Mutant(
        D1, "return torch.func.grad(slopes)(phi)", f"return {J_AT_PHI}", "by hand", "any adaptation"
    ),
    Mutant(
        D1,
        "return torch.func.grad(slopes)(phi)",
        f"theta = adapted_probs.log()\n    return {GRAD_J}",
        "by hand",
        "the identity",
    ),
    Mutant(D1, "return torch", "return -torch", "by hand", "sign is reversed"),
    Mutant(D1, "return torch", "return (1 - gamma) * torch", "random values", "1 - gamma times"),
    Mutant(UNROLLED, "range(num_steps)", "range(num_steps - 1)", "by hand", "too few"),
    Mutant(UNROLLED, "range(num_steps)", "range(num_steps + 1)", "by hand", "too many"),
    Mutant(UNROLLED, "theta + step_size", "theta - step_size", "by hand", "go down"),
    Mutant(UNROLLED, "theta = p\n", "theta = phi.detach()\n", "by hand", "start is cut off"),
    Mutant(UNROLLED, "(theta, p)", "(theta, phi)", "by hand", "own phi is held constant"),
    Mutant(
        UNROLLED,
        STEP,
        "theta = theta + step_size * torch.func.grad(objective)(theta, p).detach()",
        "by hand",
        "steps are cut off",
    ),
    Mutant(UNROLLED, "theta = p\n", "theta = torch.zeros_like(p)\n", "by hand", "start at 0"),
    Mutant(UNROLLED, VALUE, "return torch.func.grad(outer)(phi)", "by hand", "no step is taken"),
    Mutant(UNROLLED, "outer(theta)", "outer(theta.detach())", "by hand", "nothing reaches phi"),
    Mutant(UNROLLED, VALUE, "return -torch.func.grad(value)(phi)", "by hand", "sign"),
    Mutant(UNROLLED, VALUE, OF_THE_ARGMAX, "by hand", "of the argmax"),
    Mutant(
        IFT,
        ANSWER,
        "return -torch.func.grad(objective, 1)(theta, phi) / slope(theta, phi)",
        "moderate",
        "level line",
    ),
    Mutant(
        IFT,
        "argnums=0)(theta, phi)",
        "argnums=0)(theta, phi)\n    bend = torch.func.grad(torch.func.grad(objective, 1), 1)(theta, phi)",  # noqa: E501
        "by hand",
        "F_phi_phi stands where F_theta_theta",
    ),
    Mutant(IFT, ANSWER, "return -cross * bend", "by hand", "multiplied"),
    Mutant(
        IFT,
        ANSWER,
        "return -(slope(theta, phi + 1e-6) - slope(theta, phi)) / 1e-6 / bend",
        "random values",
        "differences in place",
    ),
    Mutant(IFT, ANSWER, "return lambda: -cross / bend", "type", "call it"),
    Mutant(
        CG,
        "while squared > goal:",
        "for _ in range(10):\n        if squared <= goal:\n            break",
        "random values",
        "ten iterations",
    ),
    Mutant(
        CG,
        "while squared > goal:",
        "for _ in range(len(b)):\n        if squared <= goal:\n            break",
        "stops in time",
        "as many iterations as there are unknowns",
    ),
    Mutant(
        CG,
        "while squared > goal:",
        "for _ in range(2 * len(b)):\n        if squared <= goal:\n            break",
        "stops in time",
        "some other fixed",
    ),
    Mutant(
        CG,
        "residual = residual - step * image",
        "residual = b - matvec(x)",
        "stops in time",
        "two products",
    ),
    Mutant(
        CG,
        "while squared > goal:",
        "for _ in range(40):\n        if squared <= goal:\n            break",
        "stops in time",
        "after a fixed number of iterations",
    ),
    Mutant(VJP, "> 1e-6", "> 1e-3", "unsolved inner problem", "above 1e-6"),
    Mutant(VJP, "> 1e-6", "> 1e-5", "unsolved inner problem", "above 1e-6"),
    Mutant(VJP, "> 1e-6", "> 1e-7", "nearly solved", "below it"),
    Mutant(VJP, "-pull_back(v)[0]", "-pull_back(v)[0] + 0.1 * v", "by hand", "damped by 0.1"),
    Mutant(VJP, "-pull_back(v)[0]", "-pull_back(v)[0] + v", "by hand", "damped by 1"),
    Mutant(
        VJP,
        PULL,
        "torch.func.jacrev(lambda p: slope(theta, p))(phi) @ x",
        "runs",
        "shapes do not fit: print x.shape before",
    ),
    Mutant(
        VJP,
        f"x = {SOLVE}",
        "a = -torch.func.hessian(objective)(theta, phi)\n    x = cotangent * (cotangent @ cotangent) / (cotangent @ a @ cotangent)",  # noqa: E501
        "by hand",
        "after one step",
    ),
    Mutant(
        W,
        "raw.sum(-1, keepdim=True) / uniform.sum(-1, keepdim=True)",
        "raw.sum() / uniform.sum()",
        "sums to 0",
        "over all states",
    ),
    Mutant(
        W,
        "raw.sum(-1, keepdim=True) / uniform.sum(-1, keepdim=True)",
        "raw.sum(0) / uniform.sum(0)",
        "sums to 0",
        "dim 0",
    ),
    Mutant(
        W,
        "raw = torch",
        "m = torch.diag_embed(m.diagonal(dim1=-2, dim2=-1))\n    raw = torch",
        "random values",
        "only the diagonal",
    ),
    Mutant(W, "raw = torch", "m = torch.linalg.inv(m)\n    raw = torch", "by hand", "in all of W"),
    Mutant(
        FULL,
        LAST,
        "outer = FROZEN\n    moved = torch.func.jvp(lambda x: q_values(x.softmax(-1), task, gamma), (phi,), (outer,))[1]\n    return outer + moved / lam".replace(  # noqa: E501
            "FROZEN",
            "torch.func.grad(lambda t: expected_return(t.softmax(-1), task, gamma))(phi + q_values(phi.softmax(-1), task, gamma) / lam)",  # noqa: E501
        ),
        "rows sum to 0",
        "not transposed",
    ),
    Mutant(
        FULL,
        LAST,
        "theta = phi + q_values(phi.softmax(-1), task, gamma) / lam\n    outer = GRAD\n    return outer + torch.func.vjp(lambda x: q_values(x.softmax(-1), task, gamma), phi)[1](outer)[0]".replace(  # noqa: E501
            "GRAD", GRAD_J
        ),
        "by hand",
        "1 / lam is missing at",
    ),
    Mutant(
        FULL,
        LAST,
        "outer = GRAD\n    return outer + torch.func.vjp(lambda x: q_values(x.softmax(-1), task, gamma), phi)[1](outer)[0] / lam".replace(  # noqa: E501
            "GRAD", J_AT_PHI
        ),
        "by hand",
        "chain rule asks",
    ),
    Mutant(FULL, "theta.softmax(-1)", "theta", "runs", "as a policy is none"),
    Mutant(FULL, "logits + q_values", "q_values", "by hand", "starts at 0"),
    Mutant(FULL, LAST, f"return {BOTH} - {J_AT_PHI}", "by hand", "the gain"),
    Mutant(FULL, LAST, f"return lam * {BOTH}", "by hand", "lam times"),
    Mutant(FROZEN, " / lam", " * lam", "by hand", "multiplied by lam"),
    Mutant(FROZEN, " / lam", "", "by hand", "lam is missing"),
    Mutant(FROZEN, "phi + q_values", "phi - q_values", "by hand", "wrong sign"),
    Mutant(
        FROZEN,
        GRAD_J,
        "torch.func.grad(lambda t: task.start @ (t.softmax(-1) * q_values(phi.softmax(-1), task, gamma)).sum(-1))(theta)",  # noqa: E501
        "by hand",
        "frozen in J",
    ),
    Mutant(D1, "/ adapted_probs**2", "/ adapted_probs", "by hand", "lacks the square"),
    Mutant(
        D1,
        "(adapted_probs)\n    m =",
        "(phi.softmax(-1))\n    m =",
        "random values",
        "taken at pi_phi",
    ),
    Mutant(D1, "x = simplex_solve(m, cotangent)", "x = cotangent", "by hand", "not solved"),
    Mutant(
        D1,
        "x = simplex_solve(m, cotangent)",
        "x = (m @ cotangent.unsqueeze(-1)).squeeze(-1)",
        "by hand",
        "M multiplies",
    ),
    Mutant(D1, "return torch.func.grad(slopes)(phi)", HALVES, "by hand", "through bisection"),
    Mutant(
        UNROLLED,
        STEP,
        STEP.replace("theta, p)", "theta, theta)"),
        "by hand",
        "second argument is theta",
    ),
    Mutant(UNROLLED, VALUE, AT_THE_END, "by hand", "implicit gradient at theta_K"),
    Mutant(UNROLLED, VALUE, LAST_ALONE, "by hand", "only the last step"),
    Mutant(UNROLLED, "step_size * ", "", "by hand", "step_size is not used"),
    Mutant(CG, "bend <= 0", "bend <= 1e-6", "runs", "more is asked of"),
    Mutant(CG, "goal = ", "goal = 100 * ", "stops in time", "another residual"),
    Mutant(VJP, "> 1e-6", "> 1e-15", "runs", "far below 1e-6"),
    Mutant(
        IFT,
        ANSWER,
        "return -torch.func.grad(objective, argnums=1)(theta, phi) / bend",
        "by hand",
        "F_phi stands where F_theta_phi belongs",
    ),
    Mutant(
        IFT,
        ANSWER,
        "return torch.func.grad(objective, argnums=1)(theta, phi) / bend",
        "by hand",
        "F_phi stands where F_theta_phi belongs, and the minus sign is missing",
    ),
    Mutant(
        IFT,
        ANSWER,
        "return (cross / bend).abs()",
        "by hand",
        "the absolute value is taken: theta may well fall as phi rises",
    ),
    Mutant(
        CG,
        "squared / previous * direction",
        "(previous / squared) * direction",
        "runs",
        "beta is upside down: it is <r_new, r_new> / <r, r>",
    ),
    Mutant(
        CG,
        "squared / previous * direction",
        "(1.0) * direction",
        "runs",
        "beta is 1: keep the old <r, r> until beta is computed",
    ),
    Mutant(
        CG,
        "squared / previous * direction",
        "((squared / previous).sqrt()) * direction",
        "runs",
        "beta is the ratio of the norms: it is that of their squares",
    ),
    Mutant(
        CG,
        "squared / previous * direction",
        "(-squared / previous) * direction",
        "runs",
        "beta has the wrong sign: p_new = r_new + beta p",
    ),
    Mutant(
        VJP,
        SOLVE,
        "torch.linalg.solve(-torch.func.hessian(objective)(theta, phi) + 10 * "
        "torch.eye(len(theta)).to(phi), cotangent)",
        "by hand",
        "the Hessian is damped by 10 in the solve: that is another problem's answer",
    ),
    Mutant(
        VJP,
        SOLVE,
        "torch.linalg.solve(-torch.func.hessian(objective)(theta, phi) + 0.001 * "
        "torch.eye(len(theta)).to(phi), cotangent)",
        "by hand",
        "the Hessian is damped by 0.001 in the solve: that is another problem's answer",
    ),
    Mutant(
        VJP,
        SOLVE,
        "torch.linalg.solve(-(torch.func.hessian(objective)(theta, phi) + 0.01 * "
        "torch.eye(len(theta)).to(phi)), cotangent)",
        "by hand",
        "the Hessian is damped by 0.01 with the wrong sign, and should not be at all",
    ),
    Mutant(
        VJP,
        "x = conjugate_gradient(lambda v: -pull_back(v)[0], cotangent, 1e-12)",
        "x, v = torch.zeros_like(cotangent), cotangent\n"
        "    for _ in range(5):\n"
        "        x, v = x + 1.0 * v, v + 1.0 * torch.func.hessian(objective)(theta, "
        "phi) @ v",
        "by hand",
        "the Neumann series ends after 5 terms with step 1: it has not settled",
    ),
    Mutant(
        VJP,
        "x = conjugate_gradient(lambda v: -pull_back(v)[0], cotangent, 1e-12)",
        "x, v = torch.zeros_like(cotangent), cotangent\n"
        "    for _ in range(20):\n"
        "        x, v = x + 0.1 * v, v + 0.1 * torch.func.hessian(objective)(theta, "
        "phi) @ v",
        "by hand",
        "the Neumann series ends after 20 terms with step 0.1: it has not settled",
    ),
    Mutant(
        VJP,
        "x = conjugate_gradient(lambda v: -pull_back(v)[0], cotangent, 1e-12)",
        "x, v = torch.zeros_like(cotangent), cotangent\n"
        "    for _ in range(50):\n"
        "        x, v = x + 0.1 * v, v + 0.1 * torch.func.hessian(objective)(theta, "
        "phi) @ v",
        "by hand",
        "the Neumann series ends after 50 terms with step 0.1: it has not settled",
    ),
    Mutant(
        FULL,
        "return expected_return(theta.softmax(-1), task, gamma)",
        "old = logits.softmax(-1)\n"
        "        return (occupancy(old, task, gamma)[:, None] * theta.softmax(-1) * "
        "q_values(old, task, gamma)).sum()",
        "by hand",
        "J stands for the surrogate L: Q of pi_phi instead of the return of pi_theta",
    ),
    Mutant(
        FULL,
        "return expected_return(theta.softmax(-1), task, gamma)",
        "old = phi.softmax(-1)\n"
        "        return (occupancy(old, task, gamma)[:, None] * theta.softmax(-1) * "
        "q_values(old, task, gamma)).sum() / (1 - gamma)",
        "by hand",
        "J stands for what the old data promise, with occupancy and Q of pi_phi held constant",
    ),
    Mutant(
        FULL,
        "return expected_return(theta.softmax(-1), task, gamma)",
        "old = phi.softmax(-1)\n"
        "        return (occupancy(old, task, gamma)[:, None] * theta.softmax(-1) * "
        "q_values(old, task, gamma)).sum()",
        "by hand",
        "J stands for the surrogate L, with occupancy and Q of pi_phi held constant",
    ),
    Mutant(
        FULL,
        "return expected_return(theta.softmax(-1), task, gamma)",
        "old = logits.softmax(-1)\n"
        "        return (task.start[:, None] * theta.softmax(-1) * q_values(old, task, "
        "gamma)).sum()",
        "by hand",
        "J stands for <pi_theta, Q> at the start: Q is pi_phi's, not pi_theta's",
    ),
    Mutant(
        FULL,
        "return expected_return(theta.softmax(-1), task, gamma)",
        "old = phi.softmax(-1)\n"
        "        return (task.start[:, None] * theta.softmax(-1) * q_values(old, task, "
        "gamma)).sum()",
        "by hand",
        "J stands for <pi_theta, Q> at the start, with Q of pi_phi held constant",
    ),
    Mutant(
        D1,
        "lam * probs / adapted_probs",
        "lam * probs.log()",
        "by hand",
        "log pi_phi stands where pi_phi / pi' belongs in the slope: that is D2's",
    ),
    Mutant(
        D1,
        "lam * probs / adapted_probs",
        "lam * probs.log() / adapted_probs",
        "by hand",
        "log pi_phi stands where pi_phi belongs in the slope",
    ),
    Mutant(
        D1,
        "/ adapted_probs**2",
        "/ phi.softmax(-1) ** 2",
        "by hand",
        "M is taken at pi_phi: it is diag(lam pi_phi / pi'^2)",
    ),
    Mutant(
        UNROLLED,
        "range(num_steps)",
        "range(1)",
        "by hand",
        "there is one step alone, whatever K is",
    ),
    Mutant(
        UNROLLED,
        VALUE,
        "return torch.func.grad(value)(phi) if num_steps else torch.zeros_like(phi)",
        "random values",
        "K may be 0: theta_K is phi then, and the answer the gradient of J at phi",
    ),
    Mutant(
        IFT,
        ANSWER,
        "own = torch.func.grad(torch.func.grad(objective, argnums=1), "
        "argnums=1)(theta, phi)\n"
        "    return -own / cross",
        "by hand",
        "theta and phi have changed places: that is -F_phi_phi / F_theta_phi",
    ),
    Mutant(
        CG,
        "torch.zeros_like(b), b, b",
        "b, b, b",
        "by hand",
        "x starts at b, and ends there too far off: it starts at 0",
    ),
    Mutant(
        W,
        "return raw - uniform * raw.sum(-1, keepdim=True) / uniform.sum(-1, keepdim=True)",
        "return raw / raw.sum(-1, keepdim=True)",
        "sums to 0",
        "M^-1 c is divided by its sum: the entries have to sum to 0, not to 1",
    ),
    Mutant(
        FULL,
        "logits + q_values",
        "logits.softmax(-1) + q_values",
        "by hand",
        "probabilities stand where logits belong: theta = phi + Q / lam",
    ),
    Mutant(
        D1,
        "lam * phi.softmax(-1) / adapted_probs**2",
        "lam * adapted_probs / phi.softmax(-1) ** 2",
        "by hand",
        "pi_phi and pi' have changed places in M",
    ),
    Mutant(
        VJP,
        ", cotangent, 1e-12",
        ", cotangent / cotangent.norm(), 1e-12",
        "by hand",
        "the cotangent is divided by its norm",
    ),
    Mutant(
        FROZEN,
        "q_values(phi.softmax(-1), task, gamma) / lam",
        "q_values(phi.softmax(-1), task, gamma) * (1 - gamma) / lam",
        "by hand",
        "Q is multiplied by 1 - gamma in theta: theta = phi + Q / lam",
    ),
)
