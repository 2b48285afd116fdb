// The page's button does the same where scripts do not run.
document.getElementById("reply").submit();
