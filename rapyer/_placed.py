"""Where a model is: a document of its own, by its key, or a place in another model.

Rules:
- A model knows its owner and the place it was found at; the owner knows the rest. One without owner is a document.
- No model stands at two places: one that is put in where it cannot stand is copied.
- A copy has the same pk and no place.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel

from rapyer import _classes, _keys, _linked, _session
from rapyer._link import MovedOut
from rapyer._path import absolute, render
from rapyer.errors import UsageError
from rapyer.types._base import elsewhere, watch

if TYPE_CHECKING:
    from typing_extensions import Self

    from rapyer._link import Owner
    from rapyer._path import Step, Steps
    from rapyer.types._base import Plan

_P = TypeVar("_P", bound="Placed")
_set = object.__setattr__
#: Under which a deep copy, whose memo has identities else, finds the model that it is in the middle of.
_COPYING: Any = "rapyer"


class Placed(BaseModel):
    """A model with a key, or with an owner."""

    __slots__ = ("_hint", "_known_key", "_own_pk", "_owner")

    #: The class that plain models are linked with, which has all public methods.
    _public: ClassVar[Any] = None
    _rapyer_plain: ClassVar[Any] = None
    _key_name: ClassVar[Any] = None
    #: The hash tag that leads the pk.
    _tag: ClassVar[Any] = ()
    #: The fields that the key is made of.
    _key_fields: ClassVar[frozenset[str]] = frozenset()
    #: Fields with something restricted; all once an instance of this class stood in what is restricted.
    _guarded: ClassVar[Any] = frozenset()
    #: Whether an instance of this class ever stood in another model; asking a slot that is empty is slow.
    _was_inner: ClassVar[bool] = False
    #: Whether a pk of its own makes an instance's key, which then stays: no field is it, nothing of the user's says
    #: what keys start with or what the pk is, and no instance ever stood in another model. One attribute, because
    #: asking for one is slow.
    _own_key: ClassVar[bool] = False

    if TYPE_CHECKING:
        _hint: ClassVar[Any]  # not a field to a type checker

        @classmethod
        def class_key_initials(cls) -> str: ...

    @classmethod
    def _wrap(cls, value: Any, owner: Owner, place: Step, plan: Plan) -> Any:
        """Link a nested model to where it is; one that stands elsewhere is copied first."""
        if not isinstance(value, Placed):
            if plan.changeable and _session.is_recording():
                watch(value, owner, place)
            return value
        if not value._takes_place(owner, place):
            value = value.model_copy()
            value._link(owner, place)
        return value

    def _takes_place(self, owner: Owner, place: Step) -> bool:
        """Whether this is the model of that place; one that is free becomes it."""
        if owner_of(self) is owner and not elsewhere(self, owner, place):
            _set(self, "_hint", place)
            return True
        if not self._is_free():
            return False
        if _session.is_recording():
            _session.becomes_part(self)
        self._link(owner, place)
        return True

    def _link(self, owner: Owner, place: Step) -> None:
        _set(self, "_owner", owner)
        _set(self, "_hint", place)
        if self._own_key or not self._was_inner:  # which is a parent's, too
            type(self)._was_inner = True
            type(self)._own_key = False
        if owner._guarded and len(self._guarded) < len(self.__pydantic_fields__) and owner._guards(place):
            type(self)._guarded = frozenset(self.__pydantic_fields__)

    def _stand_alone(self) -> None:
        """Be a document from now on: put into another model, it is copied."""
        _set(self, "_own_pk", self.pk)
        _session.stands_alone(self)

    def _is_free(self) -> bool:
        """Whether this is neither part of a model nor a document of its own."""
        if owner_of(self) is not None or own_pk(self) is not None:
            return False
        return self._key_name is None or not _session.is_recorded(self)

    # -- places ----------------------------------------------------------------------------------------------------

    def _document(self) -> Any:
        # Most models are documents, and one attribute tells.
        if not self._was_inner or (owner := owner_of(self)) is None:
            return self
        return owner._document()

    def _steps(self) -> Steps:
        if not self._was_inner or (owner := owner_of(self)) is None:
            return ()
        try:
            place = owner._place_of(self, self._hint)
        except UsageError as error:
            if _session.is_watched(owner._document(), self):
                _set(self, "_owner", None)
                raise MovedOut(*error.args) from None
            raise
        return (*owner._steps(), place)

    def _agrees(self) -> None:
        """Take notice that this is what Redis holds, wherever it stands by now."""
        if _session._saving:
            with suppress(UsageError):
                _session.agrees(self._document(), self._steps())

    @property
    def pk(self) -> str:
        """The primary key: the `KeyAnnotation` field as text, else a UUID4 of this instance.

        With `Meta.hash_tag` the tag leads it: `{customer-7}:<the rest>`.
        """
        if self._key_name is not None:
            return _classes.tagged(_classes.pk_text(self.__dict__[self._key_name]), self._tag, self.__dict__)
        own = own_pk(self)
        if own is None:
            own = _keys.new_pk()
            if self._tag:
                own = _classes.tagged(own, self._tag, self.__dict__)
            _set(self, "_own_pk", own)
        return own

    def _makes(self, pk: str) -> bool:
        """Whether the fields that the key is made of make this one."""
        if self._key_name is not None:
            return self.pk == pk
        try:
            return pk.startswith(_classes.tagged("", self._tag, self.__dict__))
        except UsageError:
            return False

    def _is_under(self, key: str) -> bool:
        """Whether the fields that the key is made of make this key."""
        return self._makes(_keys.pk_of(self.class_key_initials(), key))

    def _check_tag(self) -> None:
        """Refuse to write fields that make another tag than the one of the pk, which stays."""
        if self._key_name is None and not self._makes(self.pk):
            msg = f"the fields of {self.key!r} make another hash tag than the key's: duplicate() saves them with it"
            raise UsageError(msg)

    @property
    def key(self) -> str:
        """The Redis key of the document: `{prefix}:{pk}`; a nested model has its root's."""
        document: Any = self
        if self._own_key:
            try:
                known: str = _key_slot(self)
            except AttributeError:
                known = self._learn_key()
            return known
        document = self._document()
        if document._rapyer_plain is not None:
            msg = f"this {type(document).__name__} is part of no document: put it into one, and save that"
            raise UsageError(msg)
        try:
            pk = document._own_pk if document._key_name is None else document.pk
        except AttributeError:
            pk = document.pk  # made now
        prefix = document.class_key_initials()
        key = _keys.document_key(prefix, pk)
        # A key field's value may have colons, and so may another class's prefix.
        if pk.count(":") > (document._tag != ()) and document._key_name and not _classes.models.owns(prefix, key):
            msg = f"key {key!r} of {type(document).__name__} is one of another class, whose longer prefix fits it"
            raise UsageError(msg)
        return key

    @classmethod
    def _learn_keys(cls) -> None:
        """Work out what makes the keys of a class."""
        cls._key_name, cls._tag = _classes.key_field(cls), _classes.tag_parts(cls)
        cls._key_fields = frozenset({cls._key_name, *(name for _, name in cls._tag)} - {None})
        own = cls._key_name is None and not cls._was_inner and cls._rapyer_plain is None
        cls._own_key = own and _classes.is_inherited(cls, cls._public, "class_key_initials", "pk")

    def _learn_key(self) -> str:
        key = _keys.document_key(self.class_key_initials(), self.pk)
        _set(self, "_known_key", key)
        return key

    @property
    def field_name(self) -> str:
        """A nested model's own name: its field, its key in a dict, its index in a list; empty at the root."""
        owner = owner_of(self)
        return "" if owner is None else str(owner._place_of(self, self._hint))

    @property
    def field_path(self) -> str:
        """The path from the document's root: `.profile.address`; empty at the root."""
        return render(self._steps())

    @property
    def json_path(self) -> str:
        """The JSONPath as Redis takes it: `$` at the root, else `$` and `field_path`."""
        return absolute(self._steps())

    def is_inner_model(self) -> bool:
        """Return True if this model is a field of another or an element of its containers."""
        return owner_of(self) is not None

    # -- copies ----------------------------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        """Return a copy with the same pk and no place in another document."""
        return _with_pk_of(self, super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a deep copy with the same pk and no place in another document; what is a part of it has no pk."""
        memo = {} if memo is None else memo
        inside = memo.setdefault(_COPYING, self) is not self
        copy = super().__deepcopy__(memo)
        if not inside:
            del memo[_COPYING]
        return copy if inside and own_pk(self) is None else _with_pk_of(self, copy)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the linked form of a plain model by the plain model's name."""
        if self._rapyer_plain is None:
            return super().__reduce_ex__(protocol)
        return _linked.new_linked, (self._rapyer_plain, self._public), self.__getstate__()

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle with the pk and without links."""
        return {**super().__getstate__(), "_own_pk": self.pk if owner_of(self) is None else None}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take up what was pickled."""
        own = state.pop("_own_pk", None)
        super().__setstate__(state)
        if own is not None:
            _set(self, "_own_pk", own)
            if self._own_key:
                self._learn_key()


# What is in a slot: asking by its name, where there may be nothing, runs Pydantic's `__getattr__`.
_owner_slot = Placed.__dict__["_owner"].__get__
_pk_slot = Placed.__dict__["_own_pk"].__get__
_key_slot = Placed.__dict__["_known_key"].__get__


def owner_of(model: Placed) -> Any:
    if not model._was_inner:
        return None
    try:
        return _owner_slot(model)
    except AttributeError:
        return None


def own_pk(model: Placed) -> str | None:
    try:
        own: str = _pk_slot(model)
    except AttributeError:
        return None
    return own


def give_key(model: Placed, pk: str, key: str) -> None:
    """Give a model that was made from a document's text its key; its own validators may have asked for another."""
    _set(model, "_own_pk", pk)
    _set(model, "_known_key", key)


def _with_pk_of(model: Placed, copy: _P) -> _P:
    if owner_of(model) is None and not _is_template(model):
        _set(copy, "_own_pk", model.pk)
    return copy


def _is_template(model: Placed) -> bool:
    """Whether this is a default, to be copied, that is no document itself."""
    try:
        return _pk_slot(model) is None
    except AttributeError:
        return False
