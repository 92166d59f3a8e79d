"""The HTTP API: one table of endpoints (`table`), and what is made of it.

A request passes `routing` (which row, which method), `arguments` (bytes to typed questions), a
handler (`nodes`, `selecting`, `operating`, `fleet`), and comes back as an answer of `answers`. The
same table gives `/openapi.json` (`openapi`), the page at `/docs` (`page`) and docs/api.md
(`document`), so that none of them can say anything else.
"""
