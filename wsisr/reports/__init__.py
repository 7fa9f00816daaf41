"""HTML reports: self-contained pages without scripts, from the Jinja2 templates in `templates/`.

A report derives its template from `page.html`, which holds the page's security policy and style sheet, and embeds
charts and pictures of the modules here. Text from files is always escaped. The room knows nothing of what it reports.
"""
