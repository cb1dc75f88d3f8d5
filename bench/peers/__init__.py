"""octobert beside the engines that a user could pick instead, measured in one run (see README.md)."""
