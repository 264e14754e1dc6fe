"""The error that AWS would answer. Raised anywhere below the front, rendered by `wire`."""


class ApiError(Exception):
    def __init__(self, code, message, status=400):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


def not_found(code, what, ids):
    noun = "ID" if len(ids) == 1 else "IDs"
    verb = "does" if len(ids) == 1 else "do"
    return ApiError(code, f"The {what} {noun} '{', '.join(ids)}' {verb} not exist")


def invalid(name, value):
    return ApiError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")


def missing(name):
    return ApiError("MissingParameter", f"The request must contain the parameter {name}")
