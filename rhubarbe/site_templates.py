"""Files in YAML for a site to start from."""

import json

from rhubarbe.inventory import inventory_template

OUTLETS_TEMPLATE = """\
pdu_hosts:
  - name: pdu1
    type: eaton
    IP: 192.168.1.50
    username: admin
    password: !file /etc/rhubarbe/pdu1.password
    chain_length: 1
devices:
  - name: lamp
    description: the one at the door
    # ssh_hostname: lamp       # it is shut down over ssh first
    auto_turn_off: no          # off with rhubarbe-bye
    inputs:
      - {pdu_host_name: pdu1, outlet: 1, in_chain: 0}
"""


def nodes_template(regularname: str, rebootname: str) -> str:
    """Return an inventory of two nodes, as `inventory_template` does in JSON."""
    lines = ["nodes:"]
    for entry in json.loads(inventory_template(regularname, rebootname)):
        for rank, (part, values) in enumerate(entry.items()):
            told = ", ".join(f'{key}: "{value}"' for key, value in values.items())
            lines.append(f"{' ' if rank else '-':>3} {part}: {{{told}}}")
    return "\n".join(lines) + "\n"
