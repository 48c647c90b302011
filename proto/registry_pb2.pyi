from proto import resolver_pb2 as _resolver_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IfPresent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IF_PRESENT_CONFIRM: _ClassVar[IfPresent]
    IF_PRESENT_REPLACE: _ClassVar[IfPresent]

class Done(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DONE_UNSPECIFIED: _ClassVar[Done]
    DONE_CREATED: _ClassVar[Done]
    DONE_CHANGED: _ClassVar[Done]
    DONE_UNCHANGED: _ClassVar[Done]
    DONE_REFUSED: _ClassVar[Done]
IF_PRESENT_CONFIRM: IfPresent
IF_PRESENT_REPLACE: IfPresent
DONE_UNSPECIFIED: Done
DONE_CREATED: Done
DONE_CHANGED: Done
DONE_UNCHANGED: Done
DONE_REFUSED: Done

class Draft(_message.Message):
    __slots__ = ("identifier", "kind", "values", "fields")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    kind: str
    values: _containers.RepeatedCompositeFieldContainer[_resolver_pb2.Value]
    fields: _containers.ScalarMap[str, str]
    def __init__(self, identifier: _Optional[str] = ..., kind: _Optional[str] = ..., values: _Optional[_Iterable[_Union[_resolver_pb2.Value, _Mapping]]] = ..., fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("draft", "if_present", "expected_version")
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    IF_PRESENT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    draft: Draft
    if_present: IfPresent
    expected_version: int
    def __init__(self, draft: _Optional[_Union[Draft, _Mapping]] = ..., if_present: _Optional[_Union[IfPresent, str]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class BatchRegisterRequest(_message.Message):
    __slots__ = ("drafts", "if_present", "dry_run")
    DRAFTS_FIELD_NUMBER: _ClassVar[int]
    IF_PRESENT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    drafts: _containers.RepeatedCompositeFieldContainer[Draft]
    if_present: IfPresent
    dry_run: bool
    def __init__(self, drafts: _Optional[_Iterable[_Union[Draft, _Mapping]]] = ..., if_present: _Optional[_Union[IfPresent, str]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("identifier", "done", "version", "error", "field")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    done: Done
    version: int
    error: _resolver_pb2.Error
    field: str
    def __init__(self, identifier: _Optional[str] = ..., done: _Optional[_Union[Done, str]] = ..., version: _Optional[int] = ..., error: _Optional[_Union[_resolver_pb2.Error, _Mapping]] = ..., field: _Optional[str] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...

class SetValuesRequest(_message.Message):
    __slots__ = ("identifier", "values", "fields", "mode", "expected_version")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_PUT: _ClassVar[SetValuesRequest.Mode]
        MODE_ADD: _ClassVar[SetValuesRequest.Mode]
        MODE_MODIFY: _ClassVar[SetValuesRequest.Mode]
    MODE_PUT: SetValuesRequest.Mode
    MODE_ADD: SetValuesRequest.Mode
    MODE_MODIFY: SetValuesRequest.Mode
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    values: _containers.RepeatedCompositeFieldContainer[_resolver_pb2.Value]
    fields: _containers.ScalarMap[str, str]
    mode: SetValuesRequest.Mode
    expected_version: int
    def __init__(self, identifier: _Optional[str] = ..., values: _Optional[_Iterable[_Union[_resolver_pb2.Value, _Mapping]]] = ..., fields: _Optional[_Mapping[str, str]] = ..., mode: _Optional[_Union[SetValuesRequest.Mode, str]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class RemoveValuesRequest(_message.Message):
    __slots__ = ("identifier", "indexes", "expected_version")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    indexes: _containers.RepeatedScalarFieldContainer[int]
    expected_version: int
    def __init__(self, identifier: _Optional[str] = ..., indexes: _Optional[_Iterable[int]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class WithdrawRequest(_message.Message):
    __slots__ = ("identifier", "reason", "replaced_by", "expected_version")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    reason: str
    replaced_by: _containers.RepeatedScalarFieldContainer[str]
    expected_version: int
    def __init__(self, identifier: _Optional[str] = ..., reason: _Optional[str] = ..., replaced_by: _Optional[_Iterable[str]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("prefix", "page_token", "page_size")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_token: str
    page_size: int
    def __init__(self, prefix: _Optional[str] = ..., page_token: _Optional[str] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("identifiers", "next_page_token")
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    identifiers: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, identifiers: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("prefix", "patterns", "page_token", "page_size")
    class PatternsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PATTERNS_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    patterns: _containers.ScalarMap[str, str]
    page_token: str
    page_size: int
    def __init__(self, prefix: _Optional[str] = ..., patterns: _Optional[_Mapping[str, str]] = ..., page_token: _Optional[str] = ..., page_size: _Optional[int] = ...) -> None: ...

class HistoryRequest(_message.Message):
    __slots__ = ("identifier", "after", "page_size")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    after: int
    page_size: int
    def __init__(self, identifier: _Optional[str] = ..., after: _Optional[int] = ..., page_size: _Optional[int] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("position", "at", "who", "action", "identifier", "before", "after")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    position: int
    at: int
    who: str
    action: str
    identifier: str
    before: _resolver_pb2.Record
    after: _resolver_pb2.Record
    def __init__(self, position: _Optional[int] = ..., at: _Optional[int] = ..., who: _Optional[str] = ..., action: _Optional[str] = ..., identifier: _Optional[str] = ..., before: _Optional[_Union[_resolver_pb2.Record, _Mapping]] = ..., after: _Optional[_Union[_resolver_pb2.Record, _Mapping]] = ...) -> None: ...

class HistoryReply(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ...) -> None: ...
