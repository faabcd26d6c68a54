"""Linear and nonlinear solvers and the implicit function theorem; none of them knows a policy."""
