"""What is deployed: images, the chart, Compose, units."""
