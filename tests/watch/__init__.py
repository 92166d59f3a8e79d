"""What operators watch Muster with: metrics, alerts, dashboards."""
