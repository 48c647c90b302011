from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_FOUND: _ClassVar[Outcome]
    OUTCOME_WITHDRAWN: _ClassVar[Outcome]
    OUTCOME_DELETED: _ClassVar[Outcome]
    OUTCOME_NOT_FOUND: _ClassVar[Outcome]
    OUTCOME_REFERRAL: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_AUTHORITATIVE: _ClassVar[Source]
    SOURCE_CACHED: _ClassVar[Source]
    SOURCE_STALE: _ClassVar[Source]

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_PUBLIC: _ClassVar[Scope]
    SCOPE_FEDERATION: _ClassVar[Scope]
    SCOPE_PREFIXES: _ClassVar[Scope]
    SCOPE_PRIVATE: _ClassVar[Scope]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_FOUND: Outcome
OUTCOME_WITHDRAWN: Outcome
OUTCOME_DELETED: Outcome
OUTCOME_NOT_FOUND: Outcome
OUTCOME_REFERRAL: Outcome
OUTCOME_FAILED: Outcome
SOURCE_UNSPECIFIED: Source
SOURCE_AUTHORITATIVE: Source
SOURCE_CACHED: Source
SOURCE_STALE: Source
SCOPE_PUBLIC: Scope
SCOPE_FEDERATION: Scope
SCOPE_PREFIXES: Scope
SCOPE_PRIVATE: Scope

class ResolveRequest(_message.Message):
    __slots__ = ("identifier", "indexes", "types", "authoritative", "no_recursion", "with_chain", "hops", "tag")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    AUTHORITATIVE_FIELD_NUMBER: _ClassVar[int]
    NO_RECURSION_FIELD_NUMBER: _ClassVar[int]
    WITH_CHAIN_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    indexes: _containers.RepeatedScalarFieldContainer[int]
    types: _containers.RepeatedScalarFieldContainer[str]
    authoritative: bool
    no_recursion: bool
    with_chain: bool
    hops: int
    tag: int
    def __init__(self, identifier: _Optional[str] = ..., indexes: _Optional[_Iterable[int]] = ..., types: _Optional[_Iterable[str]] = ..., authoritative: _Optional[bool] = ..., no_recursion: _Optional[bool] = ..., with_chain: _Optional[bool] = ..., hops: _Optional[int] = ..., tag: _Optional[int] = ...) -> None: ...

class BatchResolveRequest(_message.Message):
    __slots__ = ("identifiers", "indexes", "types", "authoritative", "no_recursion", "with_chain", "hops")
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    AUTHORITATIVE_FIELD_NUMBER: _ClassVar[int]
    NO_RECURSION_FIELD_NUMBER: _ClassVar[int]
    WITH_CHAIN_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    identifiers: _containers.RepeatedScalarFieldContainer[str]
    indexes: _containers.RepeatedScalarFieldContainer[int]
    types: _containers.RepeatedScalarFieldContainer[str]
    authoritative: bool
    no_recursion: bool
    with_chain: bool
    hops: int
    def __init__(self, identifiers: _Optional[_Iterable[str]] = ..., indexes: _Optional[_Iterable[int]] = ..., types: _Optional[_Iterable[str]] = ..., authoritative: _Optional[bool] = ..., no_recursion: _Optional[bool] = ..., with_chain: _Optional[bool] = ..., hops: _Optional[int] = ...) -> None: ...

class BatchResolveReply(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[ResolveReply]
    def __init__(self, replies: _Optional[_Iterable[_Union[ResolveReply, _Mapping]]] = ...) -> None: ...

class ResolveReply(_message.Message):
    __slots__ = ("identifier", "outcome", "source", "age_seconds", "ttl_seconds", "record", "proof", "tombstone", "referral", "error", "tag")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONE_FIELD_NUMBER: _ClassVar[int]
    REFERRAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    outcome: Outcome
    source: Source
    age_seconds: int
    ttl_seconds: int
    record: Record
    proof: Proof
    tombstone: Tombstone
    referral: Referral
    error: Error
    tag: int
    def __init__(self, identifier: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., source: _Optional[_Union[Source, str]] = ..., age_seconds: _Optional[int] = ..., ttl_seconds: _Optional[int] = ..., record: _Optional[_Union[Record, _Mapping]] = ..., proof: _Optional[_Union[Proof, _Mapping]] = ..., tombstone: _Optional[_Union[Tombstone, _Mapping]] = ..., referral: _Optional[_Union[Referral, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., tag: _Optional[int] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("identifier", "kind", "version", "modified", "values", "withheld")
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    identifier: str
    kind: str
    version: int
    modified: int
    values: _containers.RepeatedCompositeFieldContainer[Value]
    withheld: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, identifier: _Optional[str] = ..., kind: _Optional[str] = ..., version: _Optional[int] = ..., modified: _Optional[int] = ..., values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., withheld: _Optional[_Iterable[int]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("index", "type", "data", "ttl", "ttl_absolute", "timestamp", "permissions", "references", "visibility", "salt")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    TTL_ABSOLUTE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    index: int
    type: str
    data: bytes
    ttl: int
    ttl_absolute: bool
    timestamp: int
    permissions: int
    references: _containers.RepeatedCompositeFieldContainer[Reference]
    visibility: Visibility
    salt: bytes
    def __init__(self, index: _Optional[int] = ..., type: _Optional[str] = ..., data: _Optional[bytes] = ..., ttl: _Optional[int] = ..., ttl_absolute: _Optional[bool] = ..., timestamp: _Optional[int] = ..., permissions: _Optional[int] = ..., references: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ..., visibility: _Optional[_Union[Visibility, _Mapping]] = ..., salt: _Optional[bytes] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("handle", "index")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    handle: str
    index: int
    def __init__(self, handle: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class Visibility(_message.Message):
    __slots__ = ("scope", "prefixes")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    scope: Scope
    prefixes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, scope: _Optional[_Union[Scope, str]] = ..., prefixes: _Optional[_Iterable[str]] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("public_jws", "restricted_jws", "chain_sha256", "chain", "issuer")
    PUBLIC_JWS_FIELD_NUMBER: _ClassVar[int]
    RESTRICTED_JWS_FIELD_NUMBER: _ClassVar[int]
    CHAIN_SHA256_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    public_jws: str
    restricted_jws: str
    chain_sha256: str
    chain: _containers.RepeatedScalarFieldContainer[str]
    issuer: str
    def __init__(self, public_jws: _Optional[str] = ..., restricted_jws: _Optional[str] = ..., chain_sha256: _Optional[str] = ..., chain: _Optional[_Iterable[str]] = ..., issuer: _Optional[str] = ...) -> None: ...

class Tombstone(_message.Message):
    __slots__ = ("state", "by", "reason", "at", "replaced_by")
    STATE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_FIELD_NUMBER: _ClassVar[int]
    state: str
    by: str
    reason: str
    at: int
    replaced_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, state: _Optional[str] = ..., by: _Optional[str] = ..., reason: _Optional[str] = ..., at: _Optional[int] = ..., replaced_by: _Optional[_Iterable[str]] = ...) -> None: ...

class Referral(_message.Message):
    __slots__ = ("prefix", "chain")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    chain: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, prefix: _Optional[str] = ..., chain: _Optional[_Iterable[str]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("kind", "code", "message_en", "message_zh", "retry_after_seconds")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_EN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ZH_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    code: str
    message_en: str
    message_zh: str
    retry_after_seconds: int
    def __init__(self, kind: _Optional[str] = ..., code: _Optional[str] = ..., message_en: _Optional[str] = ..., message_zh: _Optional[str] = ..., retry_after_seconds: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("identifiers", "prefix", "after")
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    identifiers: _containers.RepeatedScalarFieldContainer[str]
    prefix: str
    after: int
    def __init__(self, identifiers: _Optional[_Iterable[str]] = ..., prefix: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class WatchEvent(_message.Message):
    __slots__ = ("position", "identifier", "version", "outcome", "at")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    position: int
    identifier: str
    version: int
    outcome: Outcome
    at: int
    def __init__(self, position: _Optional[int] = ..., identifier: _Optional[str] = ..., version: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., at: _Optional[int] = ...) -> None: ...
