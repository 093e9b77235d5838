"""The paper's tables and figures, with ours beside its baselines on one scene."""
