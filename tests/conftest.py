from hypothesis import HealthCheck, settings

# Bounded in count; never in time per example, for the machine may be busy.
settings.register_profile(
    "sockscope", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("sockscope")
