"""Pages of one bulk operation: confirm it, follow it, stop it, repeat it, take it back."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_app.actor import Role
from admin_app.admin import forms
from admin_app.admin.notification_pages import note_seen
from admin_app.admin.operations import outcome_text, progress_of, reasons_of, state_text
from admin_app.admin.pages import Pages, actor_of, row_id_of, signed_in
from admin_app.admin.parameters import given, hints_of, parameter_fields
from admin_app.bulk.models import ACTIVE, Outcome, State
from admin_app.bulk.plan import Plan, Preview
from admin_app.bulk.service import TYPED, TYPED_ABOVE, OperationService, SelectionChanged, can_retry
from admin_app.database import limit_time
from admin_app.errors import AppError, InvalidInput, TooSlow

PREVIEW_SECONDS = 20.0
TOO_SLOW = f"Looking at all these rows took more than {PREVIEW_SECONDS:.0f} seconds. Select fewer of them."
SHOWN = "shown"
OUTCOMES = {"done": Outcome.DONE, "skipped": Outcome.SKIPPED, "failed": Outcome.FAILED, "left": Outcome.OPEN}
MAX_REASON = 200


class OperationPages(Pages):
    @signed_in
    async def show(self, request: Request) -> Response:
        """Of a draft the question; afterwards how far it is, and what became of each row."""
        operation_id = row_id_of(request)
        try:
            async with self._reading(request, PREVIEW_SECONDS) as session:
                service = OperationService(session, actor_of(request))
                operation = await service.get_by_id(operation_id)
                plan = await service.plan(operation)
                if operation.state is State.DRAFT:
                    template = "confirm.html"
                    context, status = await self._question(service, plan, request.query_params)
                else:
                    template, status = "operation.html", 200
                    context = await self._told(request, service, plan)
        except TooSlow:
            raise TooSlow(TOO_SLOW) from None
        await note_seen(self._database, request, context)
        return self._page(request, template, context, status)

    @signed_in
    async def live(self, request: Request) -> Response:
        """What changes on the page while it runs, as HTML without a frame."""
        operation_id = row_id_of(request)
        async with self._reading(request) as session:
            service = OperationService(session, actor_of(request))
            plan = await service.plan(await service.get_by_id(operation_id))
            context = await self._told(request, service, plan)
        await note_seen(self._database, request, context)
        return self._page(request, "_operation.html", context)

    @signed_in
    async def confirm(self, request: Request) -> Response:
        operation_id = row_id_of(request)
        posted = await forms.read(request)
        sent = {name: text for name, text in posted.items() if isinstance(text, str) and text.strip()}
        shown, typed = sent.get(SHOWN, ""), sent.get(TYPED, "")
        asked = {name: text for name, text in sent.items() if name not in {SHOWN, TYPED}}
        query = f"?{urlencode(asked)}" if asked else ""
        request.state.button_page = f"{self._url(operation_id)}{query}"
        try:
            async with self._changing(request) as (session, actor):
                await limit_time(session, PREVIEW_SECONDS)
                await OperationService(session, actor).confirm(operation_id, sent, shown, typed)
        except (InvalidInput, SelectionChanged) as error:
            async with self._reading(request) as session:
                await limit_time(session, PREVIEW_SECONDS)
                service = OperationService(session, actor_of(request))
                plan = await service.plan(await service.get_by_id(operation_id))
                context, status = await self._question(service, plan, sent, error)
            return self._page(request, "confirm.html", context, status)
        except TooSlow:
            raise TooSlow(TOO_SLOW) from None
        return RedirectResponse(self._url(operation_id), status_code=303)

    @signed_in
    async def cancel(self, request: Request) -> Response:
        operation_id = row_id_of(request)
        async with self._changing(request) as (session, actor):
            await OperationService(session, actor).cancel(operation_id)
        return RedirectResponse(self._url(operation_id), status_code=303)

    @signed_in
    async def retry(self, request: Request) -> Response:
        operation_id = row_id_of(request)
        async with self._changing(request) as (session, actor):
            await OperationService(session, actor).retry(operation_id)
        return RedirectResponse(self._url(operation_id), status_code=303)

    @signed_in
    async def undo(self, request: Request) -> Response:
        """Leads to the question whether to."""
        operation_id = row_id_of(request)
        async with self._changing(request) as (session, actor):
            draft = await OperationService(session, actor).draft_of_undo(operation_id)
        return RedirectResponse(self._url(draft.id), status_code=303)

    async def _question(
        self,
        service: OperationService,
        plan: Plan,
        sent: Mapping[str, Any],
        error: AppError | None = None,
    ) -> tuple[dict[str, Any], int]:
        """What the page shows, and its status."""
        schema = plan.action.parameters
        typed = {} if plan.is_undo else given(schema, sent)
        preview: Preview | None = None
        invalid = error if isinstance(error, InvalidInput) else None
        # With parameters to fill in, there is nothing to tell before they are.
        is_asked = (
            plan.is_undo or not schema.model_fields or any(name in sent for name in schema.model_fields)
        )
        if is_asked:
            try:
                preview = await service.preview(plan, typed)
            except InvalidInput as found:
                invalid = error = found
        view = self.site.view(plan.operation.kind)
        fields = [] if plan.is_undo else parameter_fields(schema, typed, invalid)
        context = {
            "model_view": view,
            "operation": plan.operation,
            "plan": plan,
            "fields": fields,
            "hints": hints_of(schema),
            "parameters": typed,
            "preview": preview,
            "must_type": preview is not None and preview.counts.changing > TYPED_ABOVE,
            "typed_error": invalid.fields.get(TYPED) if invalid else None,
            "error": error.message if error else None,
            "back": sent.get("back", ""),
            "list_url": self._list_url(view, sent.get("back")),
        }
        return context, error.status if error else 200

    async def _told(self, request: Request, service: OperationService, plan: Plan) -> dict[str, Any]:
        operation, actor = plan.operation, actor_of(request)
        outcome = OUTCOMES.get(request.query_params.get("outcome", ""))
        reason = request.query_params.get("reason", "")[:MAX_REASON].replace("\0", "") or None
        items, has_more = await service.items(plan, outcome, reason, _after(request))
        undo = await service.undo_of(operation.id)
        may_act = actor.role is not Role.SUPPORT
        view = self.site.view(operation.kind)
        here = {
            name: request.query_params[name] for name in ("outcome", "reason") if name in request.query_params
        }
        more = urlencode({**here, "after": items[-1].row_id}) if has_more else None
        return {
            "model_view": view,
            "operation": operation,
            "plan": plan,
            "parameters": _parameter_texts(plan) if plan.action.is_listed and not plan.is_undo else [],
            "import_url": self._import_url(plan),
            "state": state_text(operation),
            "progress": progress_of(operation),
            "outcome_text": outcome_text(operation),
            "is_active": operation.state in ACTIVE,
            "reasons": reasons_of(operation),
            "items": items,
            "outcome": outcome,
            "reason": reason,
            "more": more,
            "undone_by": undo,
            "live_url": f"{self._url(operation.id, 'live')}?{request.url.query}",
            "may_cancel": may_act and operation.state in ACTIVE and not operation.is_cancelling,
            "may_retry": may_act and can_retry(operation) and undo is None,
            "may_undo": may_act and undo is None and await service.why_not_undo(plan) is None,
        }

    def _import_url(self, plan: Plan) -> str | None:
        """Of the import it carries out, whose page shows the lines of its file."""
        import_id = None if plan.is_undo else plan.operation.parameters.get("import_id")
        return import_id and f"{self.site.base_url}/import/details/{import_id}"

    def _url(self, operation_id: UUID, page: str = "details") -> str:
        return f"{self.site.base_url}/operation/{page}/{operation_id}"


def _after(request: Request) -> UUID | None:
    try:
        return UUID(request.query_params.get("after", ""))
    except ValueError:
        return None


def _parameter_texts(plan: Plan) -> list[tuple[str, str]]:
    """label -> what was chosen, as the form called it."""
    schema = plan.action.parameters
    texts = {name: str(value) for name, value in plan.operation.parameters.items() if value is not None}
    fields = parameter_fields(schema, texts)
    return [
        (
            field.label.text,
            dict(getattr(field, "choices", None) or []).get(texts[field.name], texts[field.name]),
        )
        for field in fields
        if field.name in texts
    ]
