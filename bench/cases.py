"""What is measured: every page that only reads, by its address."""

from admin_app.domains.products.service import ProductService
from bench.data import COMMON_WORD, RARE_WORD
from bench.history_data import FORMER_PERSON, FREQUENT_PERSON

PRODUCTS = "/admin/product/list"

READS = {
    "list, first page": PRODUCTS,
    "list, last page": f"{PRODUCTS}?cursor=last",
    "list, half way down": f"{PRODUCTS}?cursor={{half_way}}",
    **{f"sort by {sort}": f"{PRODUCTS}?sortBy={sort}&sort=asc" for sort in ProductService.listing.sorts},
    "filter + sort": f"{PRODUCTS}?is_active=no&sortBy=price&sort=asc",
    "price range": f"{PRODUCTS}?price_from=20&price_to=40",
    "one owner": f"{PRODUCTS}?owner={{owner}}",
    "made in two days": f"{PRODUCTS}?created_from=2025-12-30&created_to=2025-12-31",
    "search, rare": f"{PRODUCTS}?search={RARE_WORD}",
    "search, common": f"{PRODUCTS}?search={COMMON_WORD}",
    "search, common + sort": f"{PRODUCTS}?search={COMMON_WORD}&sortBy=price&sort=asc",
    "search, no hit": f"{PRODUCTS}?search=xylophonist",
    "search, two letters": f"{PRODUCTS}?search=oa",
    "two letters, no hit": f"{PRODUCTS}?search=io",
    "search, owner": f"{PRODUCTS}?search=owner77%40",
    "quick search": "/admin/search?q=walnut+wall+clock",
    "quick search, misspelt": "/admin/search?q=walnutt+wal+clokc",
    "count, common word": f"/admin/product/count?search={COMMON_WORD}",
    "counts beside filters": "/admin/product/facets",
    "people, first page": "/admin/user/list",
    "details": "/admin/product/details/{product}",
    "edit form": "/admin/product/edit/{product}",
}
ACTIVITY = "/admin/activity/list"
HISTORY = {
    "activity, first page": ACTIVITY,
    "activity, last page": f"{ACTIVITY}?cursor=last",
    "somebody frequent": f"{ACTIVITY}?who={FREQUENT_PERSON}",
    "somebody who left": f"{ACTIVITY}?who={FORMER_PERSON}",
    "a kind": f"{ACTIVITY}?kind=user",
    "an action": f"{ACTIVITY}?action=refused",
    "a frequent field": f"{ACTIVITY}?field=price",
    "a rare field": f"{ACTIVITY}?field=email",
    "a field that never changed": f"{ACTIVITY}?field=must_change_password",
    "a day long ago": f"{ACTIVITY}?at_from=2024-06-01&at_to=2024-06-01",
    "a person + a field": f"{ACTIVITY}?who={FREQUENT_PERSON}&field=name",
    "a kind + an action": f"{ACTIVITY}?kind=user&action=deleted",
    "one row": f"{ACTIVITY}?search={{product}}",
    "count of a field": "/admin/activity/count?field=price",
    "counts beside its filters": "/admin/activity/facets",
    "history of a row": "/admin/product/history/{product}",
    "details with history": "/admin/product/details/{product}",
}
AFTERWARDS = frozenset(
    {"count, common word", "counts beside filters", "count of a field", "counts beside its filters"}
)
"""Asked for by a page that is already shown, with a time budget of their own."""
QUICK = frozenset({"quick search", "quick search, misspelt"})
"""Search in several places, so in more statements than a list."""
SAVE = "save"
EDIT = "/admin/product/edit/{product}"
"""Saved by POST: one price changed, with history, event and delivery."""
