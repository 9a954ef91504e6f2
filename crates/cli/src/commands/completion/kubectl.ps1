# PowerShell completion for kubectl: asks the program itself what may follow.
# Load with: kubectl completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName 'kubectl' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text })
    $program = $words[0]
    $arguments = @($words | Select-Object -Skip 1)
    # Of the word under the cursor counts what stands before the cursor; after a space a new word begins.
    if ($wordToComplete -eq '') {
        # Older versions leave out arguments that are empty.
        if ($PSVersionTable.PSVersion -lt [version]'7.3.0') { $arguments += '""' } else { $arguments += '' }
    } elseif ($arguments.Count -gt 0) {
        $arguments[-1] = $wordToComplete
    }
    $lines = @(& $program '__complete' @arguments 2>$null)
    if ($lines.Count -eq 0 -or $lines[-1] -notmatch '^:(\d+)$') { return }
    $directive = [int]$Matches[1]
    $offered = @($lines | Select-Object -SkipLast 1)
    if ($directive -band 8) {
        $endings = $offered
        Get-ChildItem -Path "$wordToComplete*" -ErrorAction SilentlyContinue |
            Where-Object { $_.PSIsContainer -or $endings -contains $_.Extension.TrimStart('.') } |
            ForEach-Object { [System.Management.Automation.CompletionResult]::new((Resolve-Path -Relative $_)) }
        return
    }
    $before = ''
    if ($wordToComplete -match '^(-.*?=)') { $before = $Matches[1] }
    $space = ' '
    if ($directive -band 2) { $space = '' }
    foreach ($line in $offered) {
        $parts = $line -split "`t", 2
        $about = $parts[0]
        if ($parts.Count -gt 1 -and $parts[1]) { $about = $parts[1] }
        $word = $before + $parts[0]
        $text = $word
        if ($offered.Count -eq 1) { $text = $word + $space }
        [System.Management.Automation.CompletionResult]::new($text, $word, 'ParameterValue', $about)
    }
    # An empty answer lets PowerShell offer files, unless there are none to offer.
    if ($offered.Count -eq 0 -and ($directive -band 4)) { '' }
}
