"""What is measured: pages of the product list by their parameters, and pages of one product."""

LISTS = {
    "first page": "",
    "last page": "cursor=last",
    "sort name": "sortBy=name&sort=asc",
    "sort price": "sortBy=price&sort=desc",
    "sort state": "sortBy=is_active&sort=asc",
    "sort updated": "sortBy=updated_at&sort=desc",
    "filter and sort": "is_active=no&sortBy=price&sort=asc",
    "one owner": "owner=owner7%40",
    "created in a week": "created_from=2025-12-01&created_to=2025-12-07",
    "search, rare": "search=%22No.+3%22+walnut+desk",
    "search, common": "search=wireless",
    "search, no hit": "search=xylophonist",
    "search, two letters": "search=io",
    "search, owner": "search=owner77%40",
}
DEEP = "half way down"
"""A page that begins in the middle of the list; its cursor is made from the data."""

PAGES = ("details", "edit")
