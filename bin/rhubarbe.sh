#!/bin/echo to be sourced by bash or zsh, not run: .
# Functions that keep in $NODES which nodes you work on: what the commands take that are given none.
#
#   nodes [NODES...]           set $NODES, if some are given, and tell it
#   all-nodes ['~4'...]        set it to all nodes, less some
#   add-nodes NODES...         add some
#   drop-nodes NODES...        drop some
#   focus-nodes-on [NODES...]  keep those that are on
#
# Quote '~4': zsh would expand it. What rhubarbe-nodes refuses leaves $NODES as it was.

nodes() {
    if [ $# -gt 0 ]; then
        _rhubarbe_set "$@" || return
    fi
    printf '%s\n' "${NODES-}"
}

all-nodes() {
    _rhubarbe_set -a "$@"
}

# $(...) without quotes is split into words by both shells; in zsh, $NODES is not.
add-nodes() {
    _rhubarbe_set $(printf '%s\n' "${NODES-}") "$@"
}

drop-nodes() {
    if [ $# -eq 0 ]; then
        echo "drop-nodes: which nodes?" >&2
        return 2
    fi
    _rhubarbe_set $(printf '%s\n' "${NODES-}") $(printf '%s\n' "$@" | tr , '\n' | sed 's/^/~/')
}

focus-nodes-on() {
    local told
    # The names are on a line of their own, be they none, unless there was an error.
    told=$(rhubarbe-nodes --on "$@" && echo /0 || echo "/$?")
    case "$told" in
        /*) return "${told#/}" ;;
    esac
    export NODES="${told%
/*}"
    if [ -z "$NODES" ]; then
        echo "focus-nodes-on: none is on" >&2
    fi
    return "${told##*/}"
}

_rhubarbe_set() {
    local names
    names=$(rhubarbe-nodes "$@") || return
    export NODES="$names"
}
