"""Who may do what, how often, and from where: authentication, quotas, CORS, exposure, and limits on connections."""
