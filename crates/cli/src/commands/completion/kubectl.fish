# fish completion for kubectl: asks the program itself what may follow.
# Load with: kubectl completion fish | source

function __kubectl_ask
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    command -q $program; or set program kubectl
    command $program __complete $words[2..-1] "$current" 2>/dev/null
end

function __kubectl_offer
    set -l current (commandline -ct)
    set -l lines (__kubectl_ask)
    set -l directive (string replace -r '^:(\d+)$' '$1' -- $lines[-1])
    string match -qr '^\d+$' -- $directive; or return
    set -e lines[-1]
    if test (math "bitand($directive, 8)") -ne 0
        for file in (__fish_complete_path "$current" | string replace -r '\t.*' '')
            if string match -q '*/' -- $file; or contains -- (string replace -r '^.*\.' '' -- $file) $lines
                echo $file
            end
        end
        return
    end
    # Values of --flag=VALUE are offered with the flag before them.
    set -l before ''
    string match -qr '^-.*=' -- $current; and set before (string replace -r '=.*' '=' -- $current)
    for line in $lines
        echo -- $before$line
    end
    if test (count $lines) -eq 0; and test (math "bitand($directive, 4)") -eq 0
        __fish_complete_path "$current"
    end
end

complete -c kubectl -e
complete -c kubectl -f -k -a '(__kubectl_offer)'
