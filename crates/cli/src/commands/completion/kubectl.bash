# bash completion for kubectl: asks the program itself what may follow.
# Load with: source <(kubectl completion bash). For an alias: complete -o default -F __start_kubectl k

__start_kubectl() {
    COMPREPLY=()
    # Bash cuts words at "=" and ":" too; what no space divides in the line is one word here.
    local rest=${COMP_LINE:0:COMP_POINT} word trimmed i
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        trimmed=${rest#"${rest%%[![:space:]]*}"}
        word=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && word=$trimmed
        if ((i > 0)) && [[ $rest == "$trimmed" ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        rest=${trimmed#"$word"}
    done

    local program=${words[0]/#\~/$HOME} answer
    # The name of an alias or a function is no program.
    type -P -- "$program" >/dev/null || program=kubectl
    answer=$("$program" __completeNoDesc "${words[@]:1}" 2>/dev/null) || return
    local directive=${answer##*:}
    [[ $directive =~ ^[0-9]+$ ]] || return
    answer=${answer%:*}

    local current=${words[${#words[@]}-1]} line before=
    # Of --flag=VALUE the answer has the value alone.
    if [[ $current == -*=* ]]; then
        before=${current%%=*}=
        current=${current#*=}
    fi
    if ((directive & 8)); then
        # Only files with these endings, and folders.
        local endings=${answer//[[:space:]]/|} file
        endings=${endings%|}
        while IFS= read -r file; do
            [[ -d $file ]] && COMPREPLY+=("$file/")
            [[ -f $file && $file =~ \.($endings)$ ]] && COMPREPLY+=("$file")
        done < <(compgen -f -- "$current")
        compopt -o nospace 2>/dev/null
        ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} != */ ]] && compopt +o nospace 2>/dev/null
        return
    fi
    while IFS= read -r line; do
        [[ -n $line && $line == "$current"* ]] && COMPREPLY+=("$line")
    done <<<"$answer"
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    ((directive & 4)) && compopt +o default 2>/dev/null
    # Bash replaces what stands behind the last character at which it cuts words.
    local cut=
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && cut=${current%"${current##*:}"}
    [[ $COMP_WORDBREAKS == *=* ]] && before=
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=$before${COMPREPLY[i]#"$cut"}
    done
}

complete -o default -F __start_kubectl kubectl
