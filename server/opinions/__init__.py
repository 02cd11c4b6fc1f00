"""What people say of what they saw: `/rate`, where the operator has opened it."""
