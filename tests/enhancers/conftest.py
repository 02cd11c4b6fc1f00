"""Fixtures of these tests."""

from vulkan import vulkan as vulkan
