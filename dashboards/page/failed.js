(error) => {
  document.getElementById("subtitle").textContent = `This report could not be drawn: ${error.message}`;
  throw error;
}