"""Services that endpoints, sessions and transports call: reactions, subscriptions, accounts, moderation.

Do not depend on transports, sessions or HTTP.
"""
