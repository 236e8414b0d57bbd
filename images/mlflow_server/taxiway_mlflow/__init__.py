"""What Taxiway's container stack puts around MLflow's server: accounts, doors, health and the artifact store."""
