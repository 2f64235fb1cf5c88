"""Leads with activities, and deals, to try MyCRM with."""

from lead_management.seeding.deals import Deals
from lead_management.seeding.leads import Leads

SEEDERS = (Leads, Deals)
