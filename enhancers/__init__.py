"""Super-resolution enhancers: architectures, training, export, runtime. The only package that imports torch."""

import sys

# OpenVINO's Python package reports its own import to an analytics host, and leaves ~/intel behind, unless CI is set.
# It goes on without the module that does so. This must stand before the first import of openvino in the process.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
