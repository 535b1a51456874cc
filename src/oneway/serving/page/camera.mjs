// One picture of the camera, which is on from one press of a button to the next, and no longer.

// Let `button` start the camera in `video`, and take a picture of it when it is pressed again.
export function camera(button, video, take) {
  const label = button.textContent;
  let stream = null;

  function stop() {
    stream?.getTracks().forEach((track) => track.stop());
    [stream, video.srcObject, video.hidden, button.textContent] = [null, null, true, label];
  }

  return async () => {
    if (stream !== null) {
      const picture = await createImageBitmap(video);
      stop();
      return take(picture);
    }
    if (!navigator.mediaDevices) throw new Error("the browser gives its camera to pages of this machine or of HTTPS alone");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    } catch (error) {
      throw new Error(`there is no camera, or it was not allowed (${error.name})`);
    }
    video.srcObject = stream;
    video.hidden = false;
    await video.play();
    button.textContent = "take the picture";
    return undefined;
  };
}
