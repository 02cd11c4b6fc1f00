"""Manifests: MPDs (ISO/IEC 23009-1) and HLS playlists (RFC 8216) of a title, and the parts that live ones share."""
