"""What each product imports; one file a product.

Alerts: :mod:`.kibana_alerting`, :mod:`.opensearch_alerting`, :mod:`.elastalert2`, :mod:`.grafana_alerting`,
:mod:`.watcher`. Dashboards: :mod:`.saved_objects` (OpenSearch Dashboards and Kibana), with the panels of
:mod:`.visualizations` and :mod:`.vega`; :mod:`.grafana_dashboards`, with the queries of
:mod:`.grafana_queries`. Panels are written in :mod:`kpanic.dashboards.panels`, rules in
:mod:`kpanic.dashboards.rules`.
"""
