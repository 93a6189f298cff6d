"""Sample data: the demo's four accounts and 2,000 products, and believable products for trials."""

import json
import os
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import ARRAY, DateTime, Uuid, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from admin_app.actor import Actor, Role
from admin_app.database import Database
from admin_app.domains.products.models import Product
from admin_app.domains.products.schemas import ProductCreate
from admin_app.domains.products.service import ProductService
from admin_app.domains.users.schemas import UserCreate, UserUpdate
from admin_app.domains.users.service import UserService
from admin_app.errors import InvalidInput
from admin_app.text import name_from

PRODUCTS = 2_000
CHUNK = 500
"""How many products are written at once."""
SPREAD_DAYS = 400
SEED = 1729
LOCK = 0x64656D6F  # any constant: whoever makes the demo holds this advisory lock until its transaction ends

ACCOUNTS = {
    "root@demo.example": Role.SUPERUSER,
    "alice@demo.example": Role.ADMINISTRATOR,
    "bob@demo.example": Role.ADMINISTRATOR,
    "sam@demo.example": Role.SUPPORT,
}
OWNERS = {"alice@demo.example": 52, "bob@demo.example": 41, "root@demo.example": 7}
"""Who owns how many in a hundred of the demo's products."""


OPTIONS = {
    "shades": "Charcoal / Navy / Moss Green / Rust / Off-White / Sand",
    "brights": "Red / Yellow / Sky Blue / Mint / Coral / Black",
    "clothes": "Size XS / Size S / Size M / Size L / Size XL",
}
COLLECTIONS = (
    "Aldermoor / Bergholm / Casa Lume / Dovecote / Eastwick / Fennimore / Grønvik / Hazel & Finch / "
    "Isola / Juniper Row / Kestrel / Lindqvist / Maison Clair / Northfold / Oakhaven / Pemberton"
)
CLOSINGS = (
    "Comes in plain recycled packaging. / Ships within two working days. / Gift wrapping is available. / "
    "One of our best sellers. / Back by popular demand. / Chosen by our own staff. / "
    "Also sold in larger packs for trade customers."
)
FIRST_NAMES = (
    "Amara / Anton / Beatriz / Carlos / Chiara / Daniel / Elena / Emil / Fatima / Felix / Grace / "
    "Hanna / Hugo / Ines / Ivan / Jonas / Julia / Karim / Laura / Leon / Lucia / Marta / Mateo / "
    "Mina / Nadia / Noah / Olga / Oscar / Paula / Petra / Rafael / Rosa / Samir / Sofia / Stefan / "
    "Theo / Vera / Viktor / Yasmin / Zoe"
)
LAST_NAMES = (
    "Adler / Almeida / Bakker / Becker / Castro / Costa / Dahl / Dubois / Eriksen / Ferrari / "
    "Fischer / Garcia / Hansen / Horvat / Ivanova / Jensen / Keller / Kowalski / Lambert / Larsen / "
    "Lopez / Marino / Meyer / Moreau / Nilsson / Novak / Okafor / Olsen / Papadakis / Pereira / "
    "Ricci / Rossi / Santos / Schmidt / Silva / Svensson / Tanaka / Weber / Wolf / Zeman"
)
KINDS = """
Casserole | 45-120 | Cast Iron / Enamelled Steel / Stoneware | < 2 l / 3.5 l / 5 l / 7 l | Holds heat evenly from hob to table.
Frying Pan | 22-80 | Carbon Steel / Cast Iron / Non-Stick | < 20 cm / 24 cm / 28 cm / 32 cm | A heavy base that does not warp, for every hob including induction.
Saucepan with Lid | 25-90 | Stainless Steel / Copper | < 1 l / 1.5 l / 2.5 l | A pouring rim on both sides and a lid that seals well.
Chef’s Knife | 28-140 | Damascus / Stainless / Carbon Steel | < 15 cm / 18 cm / 21 cm | Balanced at the bolster and ground to a fine, lasting edge.
Chopping Board | 14-60 | Oak / Walnut / Bamboo / Beech | < Small / Medium / Large | Kind to knives, with a groove that catches the juice.
Mixing Bowl | 9-40 | Stoneware / Stainless Steel / Glass | < 1 l / 2 l / 3 l / 4.5 l | A steady foot and a wide rim make it easy to hold and pour.
Teapot | 18-70 | Porcelain / Cast Iron / Glass | < 0.6 l / 0.9 l / 1.2 l | Pours without a drip and takes loose leaves in its own strainer.
Coffee Maker | 24-95 | Pour-Over / Stovetop / French Press | < 2 Cups / 4 Cups / 8 Cups | A full-bodied cup without capsules or paper to throw away.
Mug | 7-22 | Stoneware / Porcelain / Enamel | shades | Glazed by hand, so no two are quite alike.
Dinner Plate | 8-28 | Stoneware / Porcelain / Recycled Glass | shades | Safe in the oven, the microwave and the dishwasher.
Wine Glasses | 18-60 | Crystal / Tempered / Recycled | < Set of 2 / Set of 4 / Set of 6 | Thin at the rim and strong at the stem.
Cutlery Set | 35-160 | Brushed Steel / Polished Steel / Matt Black | < 16 Pieces / 24 Pieces / 60 Pieces | Forged in one piece and pleasant in the hand.
Storage Jars | 12-45 | Glass / Ceramic | < Set of 3 / Set of 5 | An airtight lid keeps flour dry and coffee fresh.
Lunch Box | 10-34 | Stainless Steel / Bamboo Fibre / Glass | brights | Two compartments and a seal that holds soup.
Water Bottle | 12-38 | Insulated / Stainless Steel / Glass | < 350 ml / 500 ml / 750 ml | Keeps drinks cold for a day and hot for half of one.
Pepper Mill | 16-55 | Beech / Acacia / Steel | < 12 cm / 18 cm / 24 cm | A ceramic grinder, adjustable from coarse to very fine.
Tea Towels | 9-26 | Linen / Organic Cotton / Waffle | < Set of 2 / Set of 3 / Set of 5 | They dry glasses without leaving lint.
Apron | 15-42 | Linen / Cotton Canvas / Denim | shades | Crossed straps, a deep pocket and a loop for the towel.
Rolling Pin | 9-28 | Beech / Marble / Maple | < 30 cm / 40 cm | Rolls dough evenly without sticking.
Kitchen Scale | 19-48 | Digital / Mechanical | brights | Weighs up to five kilograms, and to the gram.
Cushion Cover | 12-45 | Linen / Velvet / Wool / Corduroy | shades | A hidden zip and double stitching along the edges.
Throw | 29-120 | Merino Wool / Recycled Wool / Cotton / Alpaca | shades | Warm on a sofa, light enough to take outside.
Duvet Cover | 39-140 | Linen / Percale / Satin / Flannel | < Single / Double / King | Softer with every wash; buttons at the foot end.
Bath Towel | 11-42 | Organic Cotton / Waffle / Bamboo | < 50 × 100 cm / 70 × 140 cm / 100 × 150 cm | Thick loops that drink water and dry overnight.
Rug | 59-380 | Wool / Jute / Recycled Cotton | < 60 × 120 cm / 120 × 180 cm / 160 × 230 cm / 200 × 300 cm | Woven flat, so that doors open over it.
Table Lamp | 39-160 | Brass / Ceramic / Opal Glass / Oak | Brass / Black / White / Grey | A warm, dimmable light for reading and for company.
Pendant Lamp | 49-220 | Rattan / Steel / Opal Glass / Paper | < Ø 30 cm / Ø 45 cm / Ø 60 cm | Throws a soft circle of light on the table below.
Candle | 8-38 | Soy Wax / Beeswax / Rapeseed Wax | Fig / Cedar / Orange Blossom / Sea Salt / Unscented | Burns slowly and evenly, with a cotton wick.
Vase | 14-80 | Stoneware / Glass / Terracotta | < Low / Medium / Tall | Wide enough for a bunch, narrow enough for a single branch.
Picture Frame | 9-45 | Oak / Walnut / Aluminium | < A5 / A4 / A3 / 50 × 70 cm | Real glass, an acid-free mount and hooks for both directions.
Wall Clock | 24-95 | Oak / Steel / Cork | Black / White / Natural | A silent movement and figures one can read from the door.
Storage Basket | 14-58 | Seagrass / Willow / Felt | < Small / Medium / Large | Holds blankets, toys or firewood, and looks tidy doing so.
Laundry Basket | 29-85 | Bamboo / Willow / Canvas | < 40 l / 60 l / 90 l | A washable liner lifts out by its handles.
Coat Hooks | 15-60 | Oak / Brass / Steel | < 3 Hooks / 5 Hooks / 7 Hooks | Screws and plugs for masonry and plasterboard are included.
Side Table | 49-190 | Oak / Marble / Steel / Walnut | < Ø 35 cm / Ø 45 cm / Ø 55 cm | Assembled in five minutes without tools.
Bookshelf | 79-420 | Oak / Pine / Walnut / Steel | < 2 Shelves / 4 Shelves / 6 Shelves | Shelves adjust in steps of three centimetres.
Folding Chair | 29-110 | Beech / Bamboo / Steel | shades | Folds flat and hangs from one hook.
Door Mat | 15-45 | Coir / Recycled Rubber / Jute | < 40 × 60 cm / 50 × 80 cm | Stiff fibres take the mud off in two steps.
Plant Pot with Saucer | 7-48 | Terracotta / Glazed / Concrete | < Ø 12 cm / Ø 17 cm / Ø 24 cm / Ø 30 cm | A drainage hole and a saucer that fits.
Watering Can | 16-55 | Galvanised / Copper / Recycled Plastic | < 1.5 l / 5 l / 10 l | A long spout reaches the back of the bed.
Garden Trowel | 8-30 | Ash Handled / Stainless Steel / Forged | Narrow / Wide | Goes through clay without bending.
Secateurs | 14-60 | Bypass / Anvil | < 18 cm / 21 cm | Clean cuts through living wood as thick as a finger.
Gardening Gloves | 7-28 | Leather / Nitrile Coated / Cotton | Size S / Size M / Size L | Tough palms, breathing backs.
Bird Feeder | 12-45 | Cedar / Steel / Glass | brights | Easy to fill, hard for squirrels.
Seed Collection | 6-26 | Herb / Wildflower / Vegetable / Salad | < 5 Packets / 10 Packets / 20 Packets | Open-pollinated seeds with sowing dates for each packet.
Garden Hose | 24-90 | Reinforced / Expanding | < 10 m / 20 m / 30 m | Does not kink, and stays soft in the cold.
Screwdriver Set | 15-70 | Precision / Insulated / Ratchet | < 6 Pieces / 12 Pieces / 24 Pieces | Hardened tips and grips that do not slip.
Claw Hammer | 14-48 | Hickory / Fibreglass / Steel | < 300 g / 450 g / 600 g | Well balanced, with a polished face.
Toolbox | 22-95 | Steel / Canvas / Recycled Plastic | < Small / Medium / Large | A tray for small parts lifts out in one move.
Tape Measure | 6-24 | Steel / Fibreglass | < 3 m / 5 m / 8 m | Locks, stands out stiffly and reads from both sides.
Extension Cable | 9-39 | Flat / Textile / Heavy-Duty | < 2 m / 3 m / 5 m / 10 m | Earthed, with a switch that glows.
Head Torch | 15-70 | Rechargeable / Compact | < 200 lm / 400 lm / 800 lm | Red light for maps, white light for eighty metres.
T-Shirt | 15-39 | Organic Cotton / Hemp / Merino | clothes | Cut straight, with side seams that stay straight.
Jumper | 49-150 | Lambswool / Merino / Recycled Cashmere / Cotton | shades | Knitted in one piece, without seams to itch.
Rain Jacket | 69-220 | Waxed / Recycled / Ventilated | clothes | Taped seams and a hood that turns with the head.
Socks | 6-24 | Merino / Bamboo / Organic Cotton | < 1 Pair / 3 Pairs / 5 Pairs | Flat toes, and heels that last.
Scarf | 19-90 | Lambswool / Silk / Cotton | shades | Long enough to go around twice.
Knitted Hat | 14-45 | Merino / Lambswool / Recycled | shades | Warm over the ears, light on the head.
Leather Belt | 25-75 | Bridle / Woven / Vegetable-Tanned | < 85 cm / 95 cm / 105 cm | Full-grain leather that darkens with wear.
Backpack | 45-180 | Canvas / Recycled / Waxed | < 12 l / 18 l / 26 l | A padded back, a sleeve for the laptop, a pocket for the keys.
Weekend Bag | 59-210 | Canvas / Leather / Recycled | shades | Fits under the seat and takes three days of clothes.
Umbrella | 18-70 | Automatic / Compact / Long | brights | Fibreglass ribs that flip back after a gust.
Wallet | 19-80 | Leather / Cork / Canvas | shades | Eight cards, some notes, and thin enough for a front pocket.
Travel Adapter | 14-48 | Universal / Compact | < 20 W / 45 W / 65 W | Four plug types and two USB sockets in one block.
Notebook | 5-24 | Dotted / Ruled / Plain | < A6 / A5 / A4 | Thread-bound, so that it lies flat; paper that takes ink.
Fountain Pen | 19-140 | Brass / Resin / Aluminium | < Extra Fine / Fine / Medium | A steel nib that starts at the first stroke.
Pencils | 4-22 | Graphite / Coloured / Watercolour | < Set of 6 / Set of 12 / Set of 24 | Cedar wood that sharpens cleanly.
Desk Organiser | 15-58 | Oak / Steel / Felt | shades | Everything in sight, and nothing in the way.
Desk Lamp | 35-140 | Articulated / Clamp-On / Wireless | Black / White / Red / Petrol | Bright where it is needed, without glare.
Headphones | 35-280 | Wireless / Over-Ear / Noise-Cancelling | Black / White / Blue / Sand | A clear, calm sound, and pads that can be replaced.
Bluetooth Speaker | 29-190 | Portable / Waterproof / Walnut | < 10 W / 20 W / 40 W | Fills a room, and plays through a weekend.
Charging Cable | 8-32 | Braided / Recycled | < 0.5 m / 1 m / 2 m / 3 m | Tested for twenty thousand bends.
Jigsaw Puzzle | 9-35 | Wooden / Panorama / Illustrated | < 100 Pieces / 500 Pieces / 1,000 Pieces / 2,000 Pieces | Pieces that click, printed without glare.
Building Blocks | 15-75 | Beech / Maple / Magnetic | < 30 Pieces / 60 Pieces / 100 Pieces | Sanded smooth and painted with water-based colours.
Card Game | 8-26 | Cooperative / Family / Travel | First Edition / Second Edition / Nordic Edition | Explained in five minutes, played in thirty.
Soft Toy | 12-42 | Organic Cotton / Wool / Linen | Hare / Bear / Fox / Whale / Owl | Washable, and stitched so that eyes stay on.
Yoga Mat | 22-85 | Natural Rubber / Cork / Jute | < 3 mm / 4 mm / 6 mm | Grips when it gets warm, and rolls up without curling.
Soap Bar | 4-14 | Olive Oil / Shea / Goat’s Milk | Lavender / Rosemary / Citrus / Oat / Unscented | Cold-pressed and cured for six weeks.
Hand Cream | 6-24 | Shea / Almond / Calendula | < 30 ml / 75 ml / 150 ml | Sinks in quickly and leaves nothing on the keys.
Bath Salts | 7-26 | Dead Sea / Epsom / Alpine | < 250 g / 500 g / 1 kg | A handful is enough for one long bath.
Ground Coffee | 6-28 | Ethiopian / Colombian / Guatemalan / Decaf | < 250 g / 500 g / 1 kg | Roasted slowly every Tuesday, with notes of cocoa and plum.
Loose Leaf Tea | 5-26 | Assam / Earl Grey / Green / Rooibos | < 75 g / 150 g / 300 g | Whole leaves that can be brewed twice.
Dark Chocolate | 3-19 | Single-Origin / Sea Salt / Hazelnut | < 70 g / 100 g / Box of 6 | Seventy per cent cocoa, conched for three days.
Olive Oil | 8-38 | Extra Virgin / Early Harvest / Unfiltered | < 250 ml / 500 ml / 1 l | Pressed within hours of picking; peppery and green.
Honey | 5-24 | Acacia / Heather / Wildflower | < 250 g / 500 g | From one valley, never heated.
Dog Bed | 35-140 | Orthopaedic / Corduroy / Canvas | < Small / Medium / Large | The cover comes off and goes into the wash.
Cat Scratching Post | 19-90 | Sisal / Cardboard / Jute | < 45 cm / 65 cm / 90 cm | Stands firm however hard it is attacked.
"""  # noqa: E501  # a table, one kind of product a line


@dataclass(frozen=True)
class Kind:
    """One kind of product, and the prices it is sold at."""

    noun: str
    lowest: int
    highest: int
    makes: list[str]
    options: list[str]
    grows: bool
    story: str

    @classmethod
    def read(cls, line: str) -> "Kind":
        """From `noun | prices | makes | options | story`; `<` says that prices grow along the options."""
        noun, prices, makes, options, story = line.split(" | ")
        lowest, highest = prices.split("-")
        choices = OPTIONS.get(options, options.removeprefix("< "))
        return cls(
            noun, int(lowest), int(highest), _items(makes), _items(choices), options.startswith("<"), story
        )


def catalogue(generator: random.Random) -> Iterator[ProductCreate]:
    """Endless. The first ten thousand or so have different names; later ones are numbered."""
    shelf = [
        (collection, make, kind, step, option)
        for kind in map(Kind.read, KINDS.strip().splitlines())
        for collection in _items(COLLECTIONS)
        for make in kind.makes
        for step, option in enumerate(kind.options)
    ]
    closings = _items(CLOSINGS)
    edition = 1
    while True:
        generator.shuffle(shelf)
        for collection, make, kind, step, option in shelf:
            number = "" if edition == 1 else f", No. {edition}"
            closing = f" {generator.choice(closings)}" if generator.random() < 0.75 else ""
            yield ProductCreate(
                name=f"{collection} {make} {kind.noun}, {option}{number}",
                description=f"{kind.story}{closing}",
                price=_price(generator, kind, step),
                is_active=generator.random() < 0.85,
            )
        edition += 1


def _price(generator: random.Random, kind: Kind, step: int) -> Decimal:
    # Where it matters, each option has its own part of the range; within it, cheap is more common than dear.
    step, steps = (step, len(kind.options)) if kind.grows else (0, 1)
    place = (step + generator.betavariate(2, 3)) / steps
    whole = int(kind.lowest * (kind.highest / kind.lowest) ** place)
    return Decimal(whole) + Decimal(generator.choice(("0.00", "0.50", "0.90", "0.95", "0.95")))


async def create_demo(database: Database, accounts_file: Path) -> None:
    """Accounts, products and the file with the passwords, whatever of it is missing.

    Accounts and products are one transaction, so they exist together or not at all, however often this is
    killed; products changed or deleted since stay so. A lost file is written again with new passwords.
    """
    actor = Actor.system()
    async with database.transaction() as session:
        await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
        existing = await UserService(session, actor).ids_by_email(list(ACCOUNTS))
        if existing and _is_intact(accounts_file):
            return
        if existing:
            passwords = await _renew_passwords(session, actor, existing)
        else:
            passwords = await _create_accounts_and_products(session, actor)
    _write_accounts(accounts_file, passwords)


async def seed(database: Database, *, products: int, owners: int) -> AsyncIterator[int]:
    """Add this many products, other ones each time, in chunks of one transaction; yields the sum so far.

    Their owners are administrators without a password, made where they are missing.
    Raises InvalidInput when one of them may not own products any more.
    """
    actor = Actor.system()
    generator = random.Random()  # noqa: S311  # sample data
    emails = list(islice(_emails(), owners))
    shelf = catalogue(generator)
    done = 0
    while done < products:
        items = list(islice(shelf, min(CHUNK, products - done)))
        chosen = [generator.choice(emails) for _ in items]
        async with database.transaction() as session:
            found = await _owners(session, actor, chosen)
            rows = [(item, found[email]) for item, email in zip(items, chosen, strict=True)]
            await ProductService(session, actor).create_many(rows)
        done += len(items)
        yield done


async def _owners(session: AsyncSession, actor: Actor, emails: Sequence[str]) -> dict[str, UUID]:
    """E-mail -> id. Raises InvalidInput for somebody whose account was closed."""
    service = UserService(session, actor)
    found = await service.ids_by_email(emails)
    for email in dict.fromkeys(emails):
        if email not in found:
            data = UserCreate(email=email, name=name_from(email), role=Role.ADMINISTRATOR)
            found[email] = (await service.create(data)).id
        elif not (await service.get_by_id(found[email])).is_active:
            raise InvalidInput(f"{email} is not active and cannot own products.")
    return found


async def _create_accounts_and_products(session: AsyncSession, actor: Actor) -> dict[str, str]:
    users = UserService(session, actor)
    passwords, ids = {}, {}
    for email, role in ACCOUNTS.items():
        passwords[email] = secrets.token_urlsafe(12)
        password = SecretStr(passwords[email])
        user = await users.create(
            UserCreate(email=email, name=name_from(email), role=role, password=password)
        )
        ids[email] = user.id
    generator = random.Random(SEED)  # noqa: S311  # the same products for everybody
    shelf = islice(catalogue(generator), PRODUCTS)
    owners = [ids[email] for email in generator.choices(list(OWNERS), list(OWNERS.values()), k=PRODUCTS)]
    ages = sorted((generator.random() * SPREAD_DAYS for _ in range(PRODUCTS)), reverse=True)
    rows = list(zip(shelf, owners, strict=True))
    now = datetime.now(UTC)
    for start in range(0, PRODUCTS, CHUNK):
        chunk = slice(start, start + CHUNK)
        products = await ProductService(session, actor).create_many(rows[chunk])
        times = [now - timedelta(days=age) for age in ages[chunk]]
        await _date_back([product.id for product in products], times, session)
    return passwords


async def _date_back(ids: Sequence[UUID], times: Sequence[datetime], session: AsyncSession) -> None:
    """As if created then. Not a change anybody made: no history, and version 1 stays."""
    dated = (
        func.unnest(bindparam("ids", ids, ARRAY(Uuid)), bindparam("times", times, ARRAY(DateTime(True))))
        .table_valued("id", "time")
        .render_derived("dated")
    )
    statement = (
        update(Product)
        .where(Product.id == dated.c.id)
        .values(created_at=dated.c.time, updated_at=dated.c.time)
        .execution_options(synchronize_session=False)
    )
    await session.execute(statement)


async def _renew_passwords(session: AsyncSession, actor: Actor, ids: dict[str, UUID]) -> dict[str, str]:
    passwords = {}
    for email in ACCOUNTS:
        if email in ids:
            passwords[email] = secrets.token_urlsafe(12)
            data = UserUpdate(password=SecretStr(passwords[email]))
            await UserService(session, actor).update(ids[email], data)
    return passwords


def _is_intact(accounts_file: Path) -> bool:
    try:
        accounts = json.loads(accounts_file.read_text())
        return bool(accounts) and all({"role", "email", "password"} <= account.keys() for account in accounts)
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _write_accounts(accounts_file: Path, passwords: dict[str, str]) -> None:
    """Readable by nobody else at any moment, and complete or not there at all."""
    accounts = [
        {"role": ACCOUNTS[email].value, "email": email, "password": password}
        for email, password in passwords.items()
    ]
    accounts_file.parent.mkdir(parents=True, exist_ok=True)
    new = accounts_file.with_name(f"{accounts_file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(accounts, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(accounts_file)


def _emails() -> Iterator[str]:
    firsts, lasts = _items(FIRST_NAMES), _items(LAST_NAMES)
    for number in count():
        turn, place = divmod(number, len(firsts))
        # Each turn pairs every first name with another last name, until all pairs have been used.
        last = lasts[(place * 7 + turn) % len(lasts)]
        suffix = turn // len(lasts) or ""
        yield f"{firsts[place]}.{last}{suffix}@store.example".lower()


def _items(text: str) -> list[str]:
    return text.split(" / ")
