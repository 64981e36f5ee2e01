"""A purchase that is paid and shipped at its own pace: two lifecycles of one aggregate, moved together where that is one decision."""
