#compdef kubectl
compdef _kubectl kubectl

# zsh completion for kubectl: asks the program itself what may follow.
# Load with: source <(kubectl completion zsh), after compinit.

_kubectl() {
    local program=${words[1]} line directive word
    local -a lines offered
    (( $+commands[$program] )) || [[ -x ${~program} ]] || program=kubectl
    lines=("${(@f)$(${~program} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    line=${lines[-1]}
    [[ $line == :<-> ]] || return 1
    directive=${line#:}
    shift -p lines
    if (( directive & 8 )); then
        _files -g "*.(${(j:|:)lines})"
        return
    fi
    for line in "${lines[@]}"; do
        [[ -n $line ]] || continue
        word=${line%%$'\t'*}
        # A colon divides a word from its description.
        word=${word//:/\\:}
        [[ $line == *$'\t'* ]] && word+=:${line#*$'\t'}
        offered+=("$word")
    done
    local -a options
    (( directive & 2 )) && options=(-S '')
    # What is typed of a flag and its value is before the offered values.
    if [[ ${words[CURRENT]} == -*=* ]]; then
        compset -P '*='
    fi
    if (( ${#offered} )); then
        _describe -V completions offered "${options[@]}"
    elif (( ! (directive & 4) )); then
        _files
    else
        return 1
    fi
}

# Loaded as a file of the function path, the file itself is the function.
if [ "$funcstack[1]" = "_kubectl" ]; then
    _kubectl
fi
