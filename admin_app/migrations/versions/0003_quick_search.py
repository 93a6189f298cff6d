"""A search index that corrects spelling, in bounded time."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Words are runs of letters and digits. pg_c_utf8 knows the letters of all scripts, whatever the database's
# own collation.
WORDS = r"""
CREATE FUNCTION search_words(text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 2000
RETURN string_to_array(btrim(regexp_replace(
    public.plain_text(normalize($1, NFKC)) COLLATE pg_catalog.pg_c_utf8, '[^[:alnum:]]+', ' ', 'g'
)), ' ')
"""

TITLE = """
CREATE FUNCTION search_title(text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 2000
RETURN left(array_to_string(public.search_words($1), ' '), 255)
"""

# "AC/DC" is ac, dc and acdc. The longest words are left out: a tsvector holds none above 2,046 bytes.
TERMS = r"""
CREATE FUNCTION search_terms(text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 5000
RETURN ARRAY(
    SELECT term
    FROM unnest(public.search_words($1) || public.search_words(regexp_replace(
        public.plain_text(normalize($1, NFKC)) COLLATE pg_catalog.pg_c_utf8,
        '[^[:alnum:][:space:]]+', '', 'g'
    ))) AS term
    WHERE length(term) <= 60
)
"""

VECTOR = """
CREATE FUNCTION search_vector(title text, rest text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000
RETURN (
    SELECT array_to_tsvector(
        ARRAY(SELECT '=' || term FROM unnest(terms) AS term) || terms || public.search_terms(rest))
    FROM (SELECT public.search_terms(title) AS terms OFFSET 0) AS of_title
)
"""

# What is worth correcting towards: no numbers, no codes, no whole e-mail addresses.
IS_SPELLED = """
CREATE FUNCTION search_is_spelled(text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN $1 COLLATE pg_catalog.pg_c_utf8 ~ '^[[:alpha:]]{2,30}$'
"""

# Two words are one mistake apart (a letter missing, doubled, wrong, or two swapped) when they are equal
# after taking at most one letter out of each. So every word is indexed by what is left of it without one
# letter, longer ones also without two, and its beginnings without one, for words not typed to their end.
# (The idea is SymSpell's, by Wolf Garbe.)
DELETIONS = """
CREATE FUNCTION search_deletions(text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000
RETURN ARRAY(
    SELECT overlay(start PLACING '' FROM i FOR 1)
    FROM (
        SELECT left($1, n) AS start FROM generate_series(4, least(length($1), 9)) AS n
        UNION
        SELECT $1
    ) AS starts, generate_series(1, length(start) + 1) AS i
    UNION
    SELECT overlay(overlay($1 PLACING '' FROM j FOR 1) PLACING '' FROM i FOR 1)
    FROM generate_series(1, length($1)) AS i, generate_series(i + 1, length($1)) AS j
    WHERE length($1) BETWEEN 7 AND 12
)
"""

QUERY = """
CREATE FUNCTION search_query(spellings text[], mark text, ending text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT string_agg(
        format('(''%s%s''%s)', mark, replace(spelling, ' ', format('''&''%s', mark)), ending), '|')
    FROM unnest(spellings) AS spelling
)
"""

# How many documents match, as the planner guesses from its statistics: a fifth of a millisecond.
ESTIMATE = """
CREATE FUNCTION search_products_estimate(query text) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE format(
        'EXPLAIN (FORMAT JSON) SELECT FROM product_search_document WHERE vector @@ %L::tsquery', query
    ) INTO plan;
    RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END $$
"""

# A GIN index reads everything that matches before it gives the first row: for common words too much.
# So only `rare` words are looked up; the others are compared with what that finds, up to a number. With no
# rare word, matches are everywhere, and the beginning of the table has enough of them.
CANDIDATES = """
CREATE FUNCTION search_products_candidates(everything text, rare text) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_indexscan = off
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    all_words tsquery := everything;
    rare_words tsquery := rare;
BEGIN
    IF all_words IS NULL THEN
        RETURN '{}';
    ELSIF rare_words IS NULL THEN
        RETURN ARRAY(
            SELECT id FROM (SELECT id, vector FROM product_search_document LIMIT 10000) AS sample
            WHERE vector @@ all_words LIMIT 100);
    END IF;
    RETURN ARRAY(
        SELECT id
        FROM (SELECT id, vector FROM product_search_document WHERE vector @@ rare_words LIMIT 3000) AS found
        WHERE vector @@ all_words LIMIT 100);
END $$
"""

# The words of a dictionary within a mistake or two of this one, nearest first; of an unfinished word also
# those that begin nearly so. Always by the GIN index, which only a bitmap scan can read: with no statistics,
# or old ones, the planner would call search_deletions() for every word.
CORRECTIONS = """
CREATE FUNCTION search_products_corrections(typed text, is_last boolean, OUT near text[], OUT far text[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off AS $$
BEGIN
    SELECT array_agg(word) FILTER (WHERE errors < 2), array_agg(word) FILTER (WHERE errors > 1)
    INTO near, far
    FROM (
        SELECT word, greatest(length(typed), length(word)) - max(length(rest)) AS errors
        FROM unnest(search_deletions(typed)) AS rest
        JOIN product_search_word ON search_deletions(word) @> ARRAY[rest]
        WHERE word <> typed
        GROUP BY word
        HAVING greatest(length(typed), length(word)) - max(length(rest))
                <= CASE WHEN length(typed) > 6 THEN 2 ELSE 1 END
            OR is_last AND length(typed) > 3 AND max(length(rest)) >= length(typed) - 1
        ORDER BY errors, left(word, 1) = left(typed, 1) DESC, similarity(word, typed) DESC
        LIMIT 16
    ) AS corrections;
END $$
"""

# Two words that were written as one.
SPLITS = """
CREATE FUNCTION search_products_splits(typed text) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT format('%s %s', first, second)
        FROM generate_series(1, length(typed) - 1) AS cut,
            LATERAL (SELECT left(typed, cut) AS first, substr(typed, cut + 1) AS second) AS parts
        WHERE (first ~ '^[0-9]+$' OR EXISTS (SELECT FROM product_search_word WHERE word = first))
            AND (second ~ '^[0-9]+$' OR EXISTS (SELECT FROM product_search_word WHERE word = second)));
END $$
"""

SEARCH = """
CREATE FUNCTION search_products(typed text, wanted integer)
RETURNS TABLE (id uuid, score double precision)
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    deadline timestamptz := clock_timestamp() + interval '100 ms';
    words text[] := (search_words(left(typed, 200)))[1:10];
    size integer := cardinality(words);
    phrase text := array_to_string(words, ' ');
    spellings text[];
    is_open boolean[];  -- long enough to be the beginning of a word
    is_known boolean[];
    is_hopeless boolean[];
    title_word text[];
    title_start text[];
    title_near text[] := array_fill(NULL::text, ARRAY[size]);
    title_far text[] := title_near;
    any_word text[];
    any_start text[];
    any_near text[] := title_near;
    near text[];
    far text[];
    part text;
    any_part text[];
    any_rare boolean[];
    everything text;
    rare text;
    found uuid[];
BEGIN
    IF size = 0 THEN
        RETURN;
    END IF;
    -- Titles that begin with all of it.
    found := ARRAY(
        SELECT id FROM product_search_document WHERE title >= phrase AND title < phrase || chr(1114111)
        ORDER BY title LIMIT 50);
    -- All words in the title, as they are or written together.
    FOR n IN 1..size LOOP
        is_open[n] := length(words[n]) > 2;
        spellings := ARRAY(
            SELECT array_to_string(words[first:last], '')
            FROM generate_series(greatest(n - 2, 1), n) AS first,
                generate_series(n, least(n + 2, size)) AS last
            WHERE last - first < 3);
        title_word[n] := search_query(spellings, '=', '');
        title_start[n] := search_query(words[n:n], '=', ':*');
        any_word[n] := search_query(spellings, '', '');
        any_start[n] := search_query(words[n:n], '', ':*');
        part := format('(%s)', title_word[n]);
        everything := concat_ws('&', everything, part);
        IF search_products_estimate(part) <= 50000 THEN
            rare := concat_ws('&', rare, part);
        END IF;
    END LOOP;
    found := found || search_products_candidates(everything, rare);

    IF cardinality(found) < wanted THEN
        -- Also their beginnings and what they may have been meant to be; in the title, then anywhere.
        everything := NULL;
        rare := NULL;
        FOR n IN 1..size LOOP
            EXIT WHEN clock_timestamp() > deadline;
            near := NULL;
            far := NULL;
            is_known[n] := EXISTS (
                SELECT FROM product_search_word WHERE word >= words[n] AND word < words[n] || chr(1114111));
            IF is_open[n] AND search_is_spelled(words[n]) THEN
                SELECT c.near, c.far INTO near, far FROM search_products_corrections(words[n], n = size) AS c;
            END IF;
            IF NOT is_known[n] AND length(words[n]) < 40 THEN
                near := near || search_products_splits(words[n]);
            END IF;
            title_near[n] := search_query(near, '=', '');
            title_far[n] := search_query(far, '=', '');
            any_near[n] := search_query(near || far, '', '');
            is_hopeless[n] := is_open[n] AND any_near[n] IS NULL AND NOT is_known[n];
            CONTINUE WHEN size > 1 AND NOT is_open[n];
            part := format('(%s)', concat_ws(
                '|', title_word[n], CASE WHEN is_open[n] THEN title_start[n] END,
                title_near[n], title_far[n]));
            everything := concat_ws('&', everything, part);
            IF search_products_estimate(part) <= 20000 THEN
                rare := concat_ws('&', rare, part);
            END IF;
            any_part[n] := format('(%s)', concat_ws(
                '|', any_word[n], CASE WHEN is_open[n] THEN any_start[n] END,
                CASE WHEN NOT is_known[n] THEN any_near[n] END));
            any_rare[n] := search_products_estimate(any_part[n]) <= 20000;
        END LOOP;
        found := found || search_products_candidates(everything, rare);
        SELECT string_agg(p, '&'), string_agg(p, '&') FILTER (WHERE r) INTO everything, rare
        FROM unnest(any_part, any_rare) AS parts(p, r);
        found := found || search_products_candidates(everything, rare);
    END IF;

    IF found = '{}' AND size = 1 AND NOT is_open[1] THEN
        -- One or two letters begin too many words to look them up: what the first titles have will do.
        found := search_products_candidates(title_start[1], NULL);
    END IF;

    IF found = '{}' AND clock_timestamp() < deadline THEN
        -- Without the words nothing is known of; if there are none, without any one of a few.
        SELECT string_agg(kept, '|'), string_agg(kept_rare, '|') INTO everything, rare
        FROM (
            SELECT string_agg(p, '&') AS kept, string_agg(p, '&') FILTER (WHERE r) AS kept_rare
            FROM generate_subscripts(any_part, 1) AS dropped
            JOIN unnest(any_part, any_rare, is_hopeless) WITH ORDINALITY AS parts(p, r, h, n)
                ON n <> dropped AND h IS NOT TRUE
            WHERE is_hopeless[dropped] OR true <> ALL (is_hopeless) AND size < 8
            GROUP BY dropped
        ) AS without
        WHERE kept_rare IS NOT NULL;
        found := search_products_candidates(everything, rare);
    END IF;

    RETURN QUERY
    SELECT document.id, CASE
            WHEN document.title = phrase THEN 1
            WHEN starts_with(document.title, phrase) THEN 0.9 + 0.09 * length(phrase) / length(document.title)
            ELSE 0.8 * quality
                + 0.08 * least(1.0, length(phrase)::numeric / greatest(length(document.title), 1))
                + 0.08 * similarity(phrase, document.title)
        END::float8 AS score
    FROM product_search_document AS document CROSS JOIN LATERAL (
        SELECT sum(length(word) * CASE
                WHEN vector @@ of_title::tsquery THEN 1.0
                WHEN vector @@ begins_of_title::tsquery THEN 0.9
                WHEN vector @@ near_of_title::tsquery THEN 0.72
                WHEN vector @@ of_any::tsquery THEN 0.75
                WHEN vector @@ far_of_title::tsquery THEN 0.6
                WHEN vector @@ begins_of_any::tsquery THEN 0.5
                WHEN vector @@ near_of_any::tsquery THEN 0.4
                ELSE 0
            END) / sum(length(word)) AS quality
        FROM unnest(
            words, title_word, title_start, title_near, title_far, any_word, any_start, any_near
        ) AS w(
            word, of_title, begins_of_title, near_of_title, far_of_title, of_any, begins_of_any, near_of_any
        )
    ) AS matched
    WHERE document.id = ANY (found)
    ORDER BY score DESC, length(document.title), document.title, document.id
    LIMIT wanted;
END $$
"""

FUNCTIONS = {
    "search_words(text)": WORDS,
    "search_title(text)": TITLE,
    "search_terms(text)": TERMS,
    "search_vector(text, text)": VECTOR,
    "search_is_spelled(text)": IS_SPELLED,
    "search_deletions(text)": DELETIONS,
    "search_query(text[], text, text)": QUERY,
    "search_products_estimate(text)": ESTIMATE,
    "search_products_candidates(text, text)": CANDIDATES,
    "search_products_corrections(text, boolean)": CORRECTIONS,
    "search_products_splits(text)": SPLITS,
    "search_products(text, integer)": SEARCH,
}


def upgrade() -> None:
    for definition in FUNCTIONS.values():
        op.execute(definition)
    op.create_table(
        "product_search_word",
        sa.Column("word", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("word", name=op.f("pk_product_search_word")),
    )
    op.drop_index("ix_product_search_document_title", table_name="product_search_document")
    op.drop_index("ix_product_search_document_vector", table_name="product_search_document")
    op.execute('ALTER TABLE product_search_document ALTER COLUMN title TYPE text COLLATE "C"')
    op.execute("""
        UPDATE product_search_document AS document
        SET title = search_title(products.name),
            vector = search_vector(products.name, email || ' ' || description)
        FROM products JOIN users ON users.id = owner_id WHERE products.id = document.id
    """)
    op.execute("""
        INSERT INTO product_search_word
        SELECT DISTINCT word FROM product_search_document, unnest(tsvector_to_array(vector)) AS word
        WHERE search_is_spelled(word)
    """)
    op.create_index("ix_product_search_document_title", "product_search_document", ["title"])
    # fastupdate: searches would read the entries not yet sorted in, one by one.
    op.create_index(
        "ix_product_search_document_vector",
        "product_search_document",
        ["vector"],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_index(
        "ix_product_search_word_deletions",
        "product_search_word",
        [sa.text("search_deletions(word)")],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    # Nothing is planned by statistics of these, and making them takes seconds.
    op.execute("ALTER INDEX ix_product_search_word_deletions ALTER COLUMN 1 SET STATISTICS 0")
    op.execute("ANALYZE product_search_document, product_search_word")


def downgrade() -> None:
    op.drop_table("product_search_word")
    op.drop_index("ix_product_search_document_vector", table_name="product_search_document")
    op.drop_index("ix_product_search_document_title", table_name="product_search_document")
    op.execute('ALTER TABLE product_search_document ALTER COLUMN title TYPE text COLLATE "default"')
    op.execute("""
        UPDATE product_search_document AS document
        SET title = plain_text(products.name),
            vector = setweight(to_tsvector('simple', plain_text(products.name)), 'A')
            || setweight(to_tsvector('simple', plain_text(email)), 'B')
            || setweight(to_tsvector('simple', plain_text(description)), 'D')
        FROM products JOIN users ON users.id = owner_id WHERE products.id = document.id
    """)
    op.create_index(
        "ix_product_search_document_title",
        "product_search_document",
        ["title"],
        postgresql_using="gin",
        postgresql_ops={"title": "gin_trgm_ops"},
    )
    op.create_index(
        "ix_product_search_document_vector", "product_search_document", ["vector"], postgresql_using="gin"
    )
    for signature in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {signature}")
